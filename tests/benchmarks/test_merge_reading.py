"""The methods of benchmarks/merge_reading.py: as many tokens as asked, with and without a gate."""

import pytest
import torch
from gate_videos import pan, still
from merge_reading import GATED, OURS, SHARES, Thinned
from reading.methods import CELL, Seen
from reading.rivals import Encoded
from torch import Tensor

GRID, FRAMES, WIDTH = (4, 6), 10, 8
SIZE = (GRID[0] * CELL, GRID[1] * CELL)


def seen(planes: Tensor) -> Seen:
    """A clip ``[T, 3, H, W]`` whose tower says something else of every cell."""
    features = torch.randn(len(planes), GRID[0] * GRID[1], WIDTH)
    return Seen(planes, 10, "bt709", lambda rgb: features)


def tokens_of(family: str, share: float, clip: Seen) -> int:
    (trace,) = Thinned(family, share).traces(clip)
    assert isinstance(trace, Encoded)
    assert trace.features.shape == clip.features.shape
    return trace.tokens


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("moves", [False, True])
def test_budgets_are_shares_of_all_cells(share: float, moves: bool) -> None:
    planes = pan(SIZE, FRAMES, (0, 3), c=3) if moves else still(SIZE, FRAMES, c=3)
    clip = seen(planes)
    wanted = int(share * FRAMES * GRID[0] * GRID[1])
    assert tokens_of(OURS, share, clip) == wanted
    kept = [tokens_of(family, 1.0, clip) for family in GATED]
    assert (kept[0] < kept[1]) == moves  # what moved is encoded by the second one only
    for family, most in zip(GATED, kept, strict=True):
        assert tokens_of(family, share, clip) == min(wanted, most)
