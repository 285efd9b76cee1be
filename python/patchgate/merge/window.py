"""The frames that are merged together, and the tokens that they may be merged with.

Letters: T frames, h w cells, K tokens, C of them carried over from before, Q = K - C, R pictures,
D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchgate import _ops
from patchgate.gate_settings import MERGED

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_NO_NUMBERS = (torch.bool, torch.complex32, torch.complex64, torch.complex128)
_LARGEST = 1e18  # squares of larger distances do not fit float32


@dataclass(frozen=True)
class Window:
    """Some frames and their tokens, those from before first."""

    features: Tensor  # [K, D] float32; all else is on the CPU
    weight: Tensor  # [K] float64: cells of frames that it stands for; inf: handed out before
    frame: Tensor  # [K] int64, ascending; negative: before
    cell: Tensor  # [K, 2] int64
    label: Tensor  # [K] int64: semantic scene
    source: Tensor  # [T, h, w] int64: the token of each cell, -1 if it is not at hand
    before: Tensor  # [T, h, w] int64: that of the frame before in the same scene, or -1
    pictures: Tensor  # [R, h, w] int64: what scenes showed when they were last seen
    returned: Tensor  # [T] int64: that of each frame's scene, or -1

    @property
    def carried(self) -> int:
        """C."""
        return int(torch.searchsorted(self.frame, 0))

    def joined(self, root: Tensor) -> "Window":
        """The same after tokens have joined those that ``root`` ``[K]`` int64 names."""
        stays, number = numbering(root)
        weight = torch.zeros_like(self.weight).index_add_(0, root, self.weight)

        def renumbered(table: Tensor) -> Tensor:
            return torch.where(table >= 0, number[table.clamp(min=0)], -1)

        return Window(
            features=means(self.features, self.weight, root),
            weight=weight[stays],
            frame=self.frame[stays],
            cell=self.cell[stays],
            label=self.label[stays],
            source=renumbered(self.source),
            before=renumbered(self.before),
            pictures=renumbered(self.pictures),
            returned=self.returned,
        )


def concatenated(parts: Sequence[Tensor]) -> Tensor:
    """``torch.cat`` along rows, without a copy where only one of them has any."""
    some = [part for part in parts if len(part)]
    return some[0] if len(some) == 1 else torch.cat(list(parts))


def numbering(root: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens stay, and each one's new number, of the representative ``[K]`` of each.

    Returns:
        ``[K']`` int64 old numbers in order; ``[K]`` int64.
    """
    stay = root == torch.arange(len(root))
    return stay.nonzero().flatten(), (stay.cumsum(0) - 1)[root]


def means(features: Tensor, weight: Tensor, root: Tensor) -> Tensor:
    """The groups' weighted means, ``[K', D]`` in the features' dtype.

    Args:
        features: ``[K, D]``; integers are rounded to.
        weight: ``[K]`` float64. A group with a member of infinite weight keeps that one's features.
        root: ``[K]`` int64.
    """
    fixed = weight.isinf()
    member = torch.where(fixed[root] & ~fixed, 0.0, weight.masked_fill(fixed, 1.0))
    stays, number = numbering(root)
    order = number.argsort(stable=True)
    ends = number.bincount(minlength=len(stays)).cumsum(0)
    cu_segments = torch.cat([ends.new_zeros(1), ends]).int()
    whole = not features.is_floating_point()
    rows = features.float() if whole else features
    member = member.to(torch.float64 if rows.dtype == torch.float64 else torch.float32)
    on = features.device
    out = _ops.segment_mean(rows, member.to(on), order.to(on), cu_segments.to(on))
    return out.round().to(features.dtype) if whole else out


def check_blocks(window: Window, kind: Tensor, side: int, before: int) -> None:
    """That no token was merged across blocks already.

    Args:
        kind: ``[T, h, w]`` uint8. side: of a block, in cells. before: frames before the window.

    Raises:
        ValueError: a merged cell whose token is one of another block.
    """
    place = ((kind == MERGED) & (window.source >= 0)).nonzero()  # [n, 3]
    cell, stands = place[:, 1:], window.cell[window.source[tuple(place.T)]]  # [n, 2] each
    wrong = (cell // side != stands // side).any(1).nonzero().flatten()
    if len(wrong):
        first = int(wrong[0])
        raise ValueError(
            f"keep_grid: expected tokens that stand for cells of one block of {side} x {side}; "
            f"cell {tuple(cell[first].tolist())} of frame {before + int(place[first, 0])} was "
            f"merged before, into the token of cell {tuple(stands[first].tolist())}"
        )


def checked_features(features: Tensor, frame: Tensor, cell: Tensor, before: int) -> Tensor:
    """Features ``[K, D]`` as they are compared: float32, where they are.

    Args:
        frame: ``[K]``. cell: ``[K, 2]``. before: tokens that came before these.

    Raises:
        TypeError: a dtype that has no means.
        ValueError: one that is not finite, or too large to be squared; it is named.
    """
    dtype = features.dtype
    if dtype not in _FLOATS and (dtype.is_floating_point or dtype in _NO_NUMBERS):
        raise TypeError(
            "tokens: expected features that are float32, float64, bfloat16, float16 or integers, "
            f"got {dtype}"
        )
    rows = features.float().contiguous()
    wrong = (~(torch.linalg.vector_norm(rows, dim=1) < _LARGEST)).nonzero().flatten()
    if len(wrong):
        first = int(wrong[0])
        where = f"frame {int(frame[first])}, cell {tuple(cell[first].tolist())}"
        raise ValueError(
            f"tokens: expected finite features of a length below {_LARGEST:g}; {len(wrong)} of "
            f"{len(rows)} tokens have others, the first is token {before + first} ({where})"
        )
    return rows
