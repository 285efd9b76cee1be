"""What benchmarks/policies.py compares: plans of whole frames, and the gate on as many as fit."""

import policies as bench
import pytest
import torch
from gate_videos import texture
from reading.methods import CELL, Seen, ours

from patchgate.gate import CHANGED

T, FPS = 30, 10
CELLS = 8


@pytest.fixture(scope="module")
def seen():
    """A grey frame in whose corner a picture changes every second."""
    planes = torch.full((T, 3, 2 * CELL, 4 * CELL), 128, dtype=torch.uint8)
    for t in range(T):
        planes[t, 0, :CELL, :CELL] = texture((CELL, CELL), t // 10)[0]
    return Seen(planes, FPS, "bt709")


@pytest.mark.parametrize("policy", bench.POLICIES_READ)
def test_a_plan_alone_spends_its_tokens_on_whole_frames(seen, policy):
    (trace,) = bench.Planned(policy, 2, False).traces(seen)
    kept = (trace.kind == CHANGED).flatten(1).sum(1)
    assert trace.tokens == 6 * CELLS  # 2 frames a second of 3 seconds
    assert set(kept.tolist()) == {0, CELLS}
    assert int(kept[0]) == CELLS


@pytest.mark.parametrize("policy", bench.POLICIES_READ)
def test_with_the_gate_it_looks_at_all_where_all_fits(seen, policy):
    (trace,) = bench.Planned(policy, 2, True).traces(seen)
    (want,) = ours().traces(seen)
    assert trace.kind.equal(want.kind)
    assert trace.tokens == CELLS + 2


def test_with_the_gate_it_looks_at_no_more_than_fits():
    noise = torch.randint(0, 255, (T, 3, 2 * CELL, 4 * CELL), dtype=torch.uint8,
                          generator=torch.Generator().manual_seed(0))  # fmt: skip
    busy = Seen(noise, FPS, "bt709")
    (trace,) = bench.Planned("uniform", 2, True).traces(busy)
    assert 5 * CELLS <= trace.tokens <= 6 * CELLS
    (alone,) = bench.Planned("uniform", 2, False).traces(busy)
    assert trace.tokens <= alone.tokens


def test_unchosen_frames_show_what_was_chosen_before(seen):
    chosen = torch.tensor([0, 15])
    trace = bench.thinned(chosen, seen)
    changed = (trace.kind == CHANGED).flatten(1).sum(1)
    assert changed.nonzero().flatten().tolist() == [0, 15]
    assert changed[[0, 15]].tolist() == [CELLS, 1]
