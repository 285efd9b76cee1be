"""The scan over time: sums that exchanges keep up to date are those of fresh attention."""

import pytest
import torch
from torch import Tensor

from patchgate.encoders.run.slots import Slots
from patchgate.encoders.run.waking import Fired, Scan

N, HEADS, WIDTH, SCALE = 12, 2, 8, 0.35
REACH = torch.tensor([0.5, 1.5], dtype=torch.float64)


def attended(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    scores = torch.einsum("nhd,khd->nhk", query, key) * SCALE
    return torch.einsum("nhk,khd->nhd", scores.softmax(2), value), scores.logsumexp(2)


class Clip:
    """Cells that are new, that move (across windows, back to older frames) or that stand still."""

    def __init__(self, frames: int, windows: int) -> None:
        self.window = torch.arange(N) % windows
        self.active = torch.rand(frames, N) < 0.2
        self.active[0] = True
        source, count = torch.empty(frames, N, dtype=torch.int64), 0
        for t in range(frames):
            if t:
                source[t] = source[t - 1]
                moves = (torch.rand(N) < 0.2) & ~self.active[t]
                source[t, moves] = torch.randint(0, count, (int(moves.sum()),))
            new = int(self.active[t].sum())
            source[t, self.active[t]] = count + torch.arange(new)
            count += new
        moved = torch.cat([torch.zeros(1, N, dtype=torch.bool), source[1:] != source[:-1]])
        self.slots = Slots.of(source, moved & ~self.active, 0, 0, count)
        self.query, self.key, self.value = torch.randn(
            3, count, HEADS, WIDTH, dtype=torch.float64
        ).unbind()
        self.row = self.slots.rows(self.active, source.new_empty(0), 0)
        self.size = 1 + torch.rand(count, dtype=torch.float64)

    def fresh(self, t: int) -> tuple[Tensor, Tensor]:
        """Every token's attention in frame t to all of its window."""
        out, lse = torch.empty(N, HEADS, WIDTH).double(), torch.empty(N, HEADS).double()
        for w in self.window.unique():
            rows = self.row[t][self.window == w]
            each = attended(self.query[rows], self.key[rows], self.value[rows])
            out[self.window == w], lse[self.window == w] = each
        return out, lse

    def scan(self, tolerance: float) -> Fired:
        fresh = [self.fresh(t) for t in range(len(self.active))]
        own = [tuple(x[a] for x in each) for each, a in zip(fresh, self.active, strict=True)]
        out, lse = (torch.cat(parts) for parts in zip(*own, strict=True))
        none = self.row.new_empty(0)
        windows = [(self.window == w).nonzero().flatten() for w in self.window.unique()]
        return Scan(
            self.slots, self.active, self.row, self.query, self.key, self.value, self.size, REACH,
            SCALE, out, lse, windows, none, None, out[:0],
        ).run(tolerance)  # fmt: skip


@pytest.mark.parametrize("windows", [1, 2, 5])
@pytest.mark.parametrize("seed", range(8))
def test_sums_are_those_of_fresh_attention(windows: int, seed: int) -> None:
    torch.manual_seed(seed)
    clip = Clip(9, windows)
    sums = clip.scan(0.1).sums
    out, lse = clip.fresh(8)
    torch.testing.assert_close(sums.weighted / sums.total[..., None], out, rtol=0, atol=1e-10)
    torch.testing.assert_close(sums.shift + sums.total.log(), lse, rtol=0, atol=1e-10)


@pytest.mark.parametrize("windows", [1, 2, 5])
@pytest.mark.parametrize("seed", range(8))
def test_those_fire_whose_states_would_move(windows: int, seed: int) -> None:
    """From the definition: the output an inherited state was made with is followed by slots."""
    torch.manual_seed(seed)
    clip, tolerance = Clip(9, windows), 0.3
    fired = clip.scan(tolerance)
    made: list[Tensor] = []  # of every slot
    expected, outs = torch.zeros_like(clip.active), []
    for t in range(9):
        out, _ = clip.fresh(t)
        for cell in range(N):
            if not clip.active[t, cell]:
                old = made[int(clip.slots.parent[t, cell])]
                moved = ((out[cell] - old).norm(dim=1) * REACH).norm()
                expected[t, cell] = bool(moved > tolerance * clip.size[clip.row[t, cell]])
            new = clip.active[t, cell] or expected[t, cell]
            made.append(out[cell] if new else made[int(clip.slots.parent[t, cell])])
        outs.append(out[expected[t]])
    assert torch.equal(fired.mask, expected)
    assert expected.any()
    torch.testing.assert_close(fired.out, torch.cat(outs), rtol=0, atol=1e-10)


def test_a_clip_that_stands_still_costs_nothing() -> None:
    clip = Clip(1, 1)
    rows = clip.row.expand(5, -1)
    active = torch.zeros(5, N, dtype=torch.bool)
    active[0] = True
    parent = torch.arange(5 * N).view(5, N) - N
    parent[0] = torch.arange(N)
    clip.active, clip.row, clip.slots = active, rows, Slots(0, parent, clip.slots.last)
    fired = clip.scan(0)
    assert fired.pairs == 0
    assert not fired.mask.any()
