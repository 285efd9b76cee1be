"""Row distance: 20,000 pairs of rows of width 1152. On a GPU it is plain torch, two launches more
than one kernel would take.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpu import Case
from gpu.floors import Work
from patchgate import _ops

WIDTH = 1152


def cases(small: bool) -> list[Case]:
    pairs = 40 if small else 20_000
    random = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, pairs, WIDTH, generator=random).unbind()
    rows = torch.randint(0, pairs, (2, pairs), generator=random)
    moved = 2 * pairs * WIDTH * 4 + 20 * pairs
    inputs = (left, rows[0], right, rows[1])
    work = Work(moved, float32=3 * pairs * WIDTH)
    return [Case("row_distance", f"{pairs} pairs", work, inputs, _ops.row_distance, agree=_near)]


def _near(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return torch.allclose(ours[0], theirs[0], rtol=1e-5)
