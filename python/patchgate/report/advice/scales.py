"""How far what is shown is from what every frame, taken whole, would show.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, N cells, E features.
"""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from patchgate.gate import Gate
from patchgate.report.survey import sub_block_errors

LAG = 5  # frames: so far apart are those between which a cell has changed much or little
MOST_CHANGED = 0.1  # the share of the cells over which the second error is taken


class Scale(Protocol):
    """Compares what is shown of frames."""

    def error(self, shown: Tensor, whole: Tensor) -> Tensor:
        """Returns the error of every cell, float32 ``[T, N]`` on the CPU: 0 where both are alike.

        Args:
            shown, whole: ``[T, ...]``, in the form of ``Part.whole``.
        """

    def worst(self, shown: Tensor, whole: Tensor) -> float:
        """Returns the mean difference of the sub-block that differs most, in grey levels of 255;
        0 if these are no pictures.
        """


class OfPixels:
    """Compares pictures: the mean difference of a cell's worst plane, divided by 255."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def error(self, shown: Tensor, whole: Tensor) -> Tensor:
        planes, side = 3 if self._gate.settings.chroma else 1, self._gate.settings.cell
        difference = (shown[:, :, :planes].short() - whole[:, :, :planes]).abs().float()
        cells = difference.unflatten(-1, (-1, side)).unflatten(-3, (-1, side))
        # [T, f, C, h, p, w, p] -> [T, h, w]
        mean = cells.mean((-3, -1)).amax(2).mean(1)
        return mean.flatten(1) / 255

    def worst(self, shown: Tensor, whole: Tensor) -> float:
        errors = sub_block_errors(shown, whole, self._gate)
        return int(errors.max()) / self._gate.settings.sub_block**2


class OfFeatures:
    """Compares features: 1 - cosine."""

    def error(self, shown: Tensor, whole: Tensor) -> Tensor:
        error = 1 - cosine_similarity(shown.double(), whole.double(), dim=-1)
        if not bool(error.isfinite().all()):
            raise ValueError("tower: expected finite features, got NaN or infinity")
        return error.clamp(min=0).float().cpu()

    def worst(self, shown: Tensor, whole: Tensor) -> float:
        return 0.0


class Change:
    """How much every cell of every frame has changed since ``LAG`` frames before."""

    def __init__(self, scale: Scale) -> None:
        self._scale = scale
        self._before: Tensor | None = None  # [up to LAG, ...]
        self._found: list[Tensor] = []  # [T, N] each

    def push(self, whole: Tensor) -> None:
        """Takes the next frames, ``[T, ...]``."""
        both = whole if self._before is None else torch.cat([self._before, whole])
        if len(both) > LAG:
            change = self._scale.error(both[LAG:], both[:-LAG])  # [up to T, N]
            self._found.append(change)
        self._before = both[-LAG:].clone()

    def most(self) -> Tensor:
        """Returns the cells that changed most, int64, flat over ``[T - LAG, N]``."""
        change = torch.cat(self._found).flatten()
        return change.topk(max(1, round(MOST_CHANGED * len(change)))).indices
