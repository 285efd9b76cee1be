"""The frames that are merged together, and the tokens that they may be merged with.

Letters: T frames, h w cells, K tokens, C of them carried over from before, R pictures, D features,
G groups, M members that count.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from patchgate import _ops
from patchgate._tensors import arange

LARGEST_WHOLE = 1 << 53  # float64 has every whole number up to it
# dtypes of the same size that can be indexed, for unsigned ones, which cannot.
_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
_SMALL = 2  # bytes: float32 has all integers of at most this size


@dataclass(frozen=True)
class Window:
    """Some frames and their tokens; tokens from before come first."""

    features: Tensor  # [K, D] float32; all other tensors are on the CPU
    weight: Tensor  # [K] float64: the cells of frames that it represents; inf: handed out before
    frame: Tensor  # [K] int64, ascending; negative: before
    cell: Tensor  # [K, 2] int64
    label: Tensor  # [K] int64: its semantic scene
    source: Tensor  # [T, h, w] int64: the token of each cell; -1: it is not in the window
    before: Tensor  # [T, h, w] int64: that in the frame before of the same scene, or -1
    pictures: Tensor  # [R, h, w] int64: what scenes showed when they were last seen
    returned: Tensor  # [T] int64: the picture of each frame's scene, or -1

    @property
    def carried(self) -> int:
        """The number of tokens carried over, C."""
        return int(torch.searchsorted(self.frame, 0))

    def joined(self, root: Tensor) -> "Window":
        """Returns the window after each token has joined the one in ``root`` ``[K]`` int64."""
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


def numbering(root: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers the tokens that stay.

    Args:
        root: ``[K]`` int64, the representative of each token.

    Returns:
        The old numbers of the G tokens that stay, in order, ``[G]`` int64; and the new number of
        each token's representative, ``[K]`` int64.
    """
    stay = root == arange(len(root))
    return stay.nonzero().flatten(), (stay.cumsum(0) - 1)[root]


def means(features: Tensor, weight: Tensor, root: Tensor) -> Tensor:
    """Computes the groups' weighted means, ``[G, D]`` in the features' dtype.

    Means of integers are computed in float64 (with 8 and 16 bits: in float32) and rounded. If only
    one member of a group counts, or one has infinite weight, the mean is exactly its features.

    Args:
        features: ``[K, D]``.
        weight: ``[K]`` float64, 0 for members that do not count.
        root: ``[K]`` int64, the representative of each token.
    """
    fixed = weight.isinf()
    counts = torch.where(fixed[root], fixed, weight > 0)  # [K]
    _, number = numbering(root)
    row = counts.nonzero().flatten()  # [M]
    row = row[number[row].argsort(stable=True)]
    size = number[row].bincount()  # [G]
    alone, several = (size == 1).nonzero().flatten(), (size > 1).nonzero().flatten()
    row_alone, row = (row[some[number[row]]] for some in (size == 1, size > 1))
    cu_segments = pad(size[several].cumsum(0), (1, 0)).int()
    on = features.device
    out = features.new_empty(len(size), features.shape[1])
    _write(out, alone.to(on), features[row_alone.to(on)])
    _write(out, several.to(on), _mean_rows(features, weight, row, cu_segments))
    return out


def _mean_rows(features: Tensor, weight: Tensor, row: Tensor, cu_segments: Tensor) -> Tensor:
    """Calls ``segment_mean`` for features ``[K, D]`` of any dtype; all others are on the CPU."""
    on, dtype = features.device, features.dtype
    whole = not dtype.is_floating_point
    if whole:  # the narrowest float dtype that is exact, and only the rows that are needed
        features, weight, row = features[row.to(on)], weight[row], arange(len(row))
        features = features.float() if dtype.itemsize <= _SMALL else features.double()
    weight = weight.to(torch.promote_types(features.dtype, torch.float32))
    out = _ops.segment_mean(features, weight.to(on), row.to(on), cu_segments.to(on))
    if not whole:
        return out
    # Near 2 ** 53, rounding may exceed all members.
    least = max(torch.iinfo(dtype).min, -LARGEST_WHOLE)
    most = min(torch.iinfo(dtype).max, LARGEST_WHOLE)
    return out.round().clamp(least, most).to(dtype)


def _write(out: Tensor, row: Tensor, features: Tensor) -> None:
    """Does ``out[row] = features`` for every dtype."""
    if out.dtype in _SIGNED:
        out, features = (x.view(_SIGNED[out.dtype]) for x in (out, features))
    out[row] = features
