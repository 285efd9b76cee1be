"""A small vision transformer reads pictures of 256 x 256: a tower that ``gated`` can wrap.

Letters: T frames, N tokens, D features, R C rows and columns of sub-cells, G classes, L indices.
"""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from patchgate.encoders.processor import PixelSpec
from reading.looks import Look
from reading.readers import Pictures
from reading.truth import SMALL
from reading.vit.labels import PATCH, read_shape, read_text
from reading.vit.model import MEAN, STD, load, pixel_values

WEIGHTS = Path(__file__).parent.parent / "vit_reader.safetensors"
BATCH = 16
REMEMBERED = 512  # pictures whose hidden states are kept: methods leave many of the same


class VitReader:
    """Reads looks at text and shapes from the last hidden states of its tower."""

    spec = PixelSpec(SMALL, MEAN, STD, PATCH)  # for ``gated``

    def __init__(self, weights: Path = WEIGHTS) -> None:
        self._network = load(weights)
        self.tower = self._network.tower  # a SiglipVisionModel
        self._memo: dict[bytes, Tensor] = {}  # of a picture: [N, D]

    def read(self, pictures: Pictures, looks: Sequence[Look]) -> list[str]:
        """What stands in each, by the dense tower."""
        frames = sorted({look.frame for look in looks})
        hidden: list[Tensor] = []
        for some in (frames[i : i + BATCH] for i in range(0, len(frames), BATCH)):
            hidden += self._seen(torch.stack([pictures.rgb(frame) for frame in some]))
        place = {frame: t for t, frame in enumerate(frames)}
        return self._read(hidden, [(place[look.frame], look) for look in looks])

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
        return self.tower(pixel_values=pixel_values(rgb)).last_hidden_state

    def _read(self, hidden: Sequence[Tensor] | Tensor, looks: list[tuple[int, Look]]) -> list[str]:
        labels = {t: self.labels(hidden[t][None]) for t in sorted({t for t, _ in looks})}
        texts = []
        for t, look in looks:
            (glyph,), (index,) = labels[t]
            text = look.kind == "text"
            texts.append(read_text(glyph, index, look.box) if text else read_shape(glyph, look.box))
        return texts

    def _seen(self, rgb: Tensor) -> list[Tensor]:
        """``hidden``, remembered. ``[T, 3, H, W]`` to T times ``[N, D]``."""
        keys = [blake2b(picture.contiguous().numpy()).digest() for picture in rgb]
        new = {key: t for t, key in enumerate(keys) if key not in self._memo}
        if new:
            self._memo |= zip(new, self.hidden(rgb[list(new.values())]), strict=True)
        states = [self._memo[key] for key in keys]
        for key in list(self._memo)[: max(0, len(self._memo) - REMEMBERED)]:
            del self._memo[key]  # the oldest
        return states
