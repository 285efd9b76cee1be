"""A small vision transformer reads pictures of 256 x 256: a tower that ``gated`` can wrap.

Letters: T frames, N tokens, D features, R C rows and columns of sub-cells, G classes, L indices.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from patchgate.gather import PixelSpec
from reading.looks import Look
from reading.readers import Pictures
from reading.truth import SMALL, Box
from reading.vit.labels import PATCH, read_shape, read_text
from reading.vit.model import MEAN, STD, load, pixel_values

WEIGHTS = Path(__file__).parent.parent / "vit_reader.safetensors"
BATCH = 4  # pictures at a time: what is between two layers still fits the processor's cache
REMEMBERED = 512  # pictures whose hidden states are kept: methods leave many of the same
REMEMBERED_TEXTS = 200_000  # what is read in a place of a picture


class VitReader:
    """Reads looks at text and shapes from the last hidden states of its tower."""

    spec = PixelSpec(SMALL, MEAN, STD, PATCH)  # for ``gated``

    def __init__(self, weights: Path = WEIGHTS) -> None:
        self._network = load(weights)
        self.tower = self._network.tower  # a SiglipVisionModel
        self._memo: dict[bytes, Tensor] = {}  # of a picture: [N, D]
        self._texts: dict[tuple[bytes, Box, str], str] = {}  # of a picture, at a look

    def read(self, pictures: Pictures, looks: Sequence[Look]) -> list[str]:
        """What stands in each, by the dense tower: the same pixels are read once."""
        rgb = {frame: pictures.rgb(frame) for frame in {look.frame for look in looks}}
        names = {frame: _name(picture) for frame, picture in rgb.items()}
        places = {look: (names[look.frame], look.box, look.kind) for look in looks}
        new = [look for look, place in places.items() if place not in self._texts]
        hidden = self._seen({names[look.frame]: rgb[look.frame] for look in new})
        read = self._read(hidden, [(names[look.frame], look) for look in new])
        self._texts |= zip((places[look] for look in new), read, strict=True)
        texts = [self._texts[places[look]] for look in looks]
        for place in list(self._texts)[: max(0, len(self._texts) - REMEMBERED_TEXTS)]:
            del self._texts[place]  # the oldest
        return texts

    def read_hidden(self, hidden: Tensor, looks: Sequence[Look]) -> list[str]:
        """What stands in each, by a clip's hidden states ``[T, N, D]``."""
        return self._read(hidden, [(look.frame, look) for look in looks])

    @torch.no_grad()
    def labels(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of glyphs ``[T, R, C, G]`` and indices ``[T, R, C, L]`` by sub-cell."""
        glyph, index = self._network.read(hidden)
        return glyph.softmax(-1), index.softmax(-1)

    @torch.no_grad()
    def hidden(self, rgb: Tensor) -> Tensor:
        """The dense tower's last hidden states ``[T, N, D]`` of uint8 ``[T, 3, H, W]``."""
        some = (
            self.tower(pixel_values=pixel_values(few)).last_hidden_state for few in rgb.split(BATCH)
        )
        return torch.cat(list(some))

    def _read(
        self, hidden: Mapping[Any, Tensor] | Tensor, looks: list[tuple[Any, Look]]
    ) -> list[str]:
        """Answers from states ``[N, D]`` by name or frame."""
        labels = {k: self.labels(hidden[k][None]) for k in dict.fromkeys(k for k, _ in looks)}
        texts = []
        for k, look in looks:
            (glyph,), (index,) = labels[k]
            text = look.kind == "text"
            texts.append(read_text(glyph, index, look.box) if text else read_shape(glyph, look.box))
        return texts

    def _seen(self, pictures: dict[bytes, Tensor]) -> dict[bytes, Tensor]:
        """``hidden``, remembered: of pictures ``[3, H, W]`` by their names, ``[N, D]``."""
        new = {key: rgb for key, rgb in pictures.items() if key not in self._memo}
        if new:
            self._memo |= zip(new, self.hidden(torch.stack(list(new.values()))), strict=True)
        states = {key: self._memo[key] for key in pictures}
        for key in list(self._memo)[: max(0, len(self._memo) - REMEMBERED)]:
            del self._memo[key]  # the oldest
        return states


def _name(picture: Tensor) -> bytes:
    """A name for its pixels."""
    return blake2b(picture.contiguous().numpy()).digest()
