"""Gated towers of fixed capacity that watch tokens: the ordinary ones, while all of it fits.

Letters: T frames, N cells, M tokens of a frame.
"""

import math
from typing import Any

import pytest
import torch
from fixed_cases import EXACT, assert_same, compiled
from gated_cases import FAMILIES, MEAN, STD, N, camera, flicker, noise, normalised, tower
from gated_families import CASES, output_of
from gated_families import gated as families_gated
from torch import Tensor, nn

import patchgate
from patchgate.encoders.run.fixed import Fitting
from patchgate.encoders.run.fixed_watch import Lineage
from patchgate.encoders.run.slots import Slots

both = pytest.mark.parametrize("family", FAMILIES)
clips = pytest.mark.parametrize("clip", [flicker, camera, noise])
LENDING = {"moved": "lend"}


@pytest.fixture(autouse=True)
def _no_grad():
    torch._dynamo.reset()
    with torch.no_grad():
        yield


def gated(model: nn.Module, **settings: Any) -> Any:
    return patchgate.gated(model, mean=MEAN, std=STD, **settings)


# The ordinary gated tower, where all fits.


@both
@clips
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tolerance": 0},
        {"tolerance": 0.3},
        {"tolerance": 0.3, **LENDING, "on_motion": "reuse"},
        {"tolerance": math.inf},
        {"tolerance": 0.1, "tolerance_layers": 1},
        {"tolerance": 0.2, "max_age": 3},
    ],
    ids=str,
)
def test_it_is_the_ordinary_gated_tower(family, clip, settings):
    model, x = tower(family), normalised(clip(9))
    expected = gated(model, **settings)(x, output_hidden_states=True)
    fixed = gated(model, **settings, capacity=9 * N)
    out = fixed(x, output_hidden_states=True)
    assert_same(out, expected)
    for ours, theirs in zip(out.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)
    assert fixed.last_overflow.tolist() == [0]
    assert fixed.last_layer_overflow.tolist() == [0] * 4
    fixed.check()


@both
@pytest.mark.parametrize("tolerance", [0, 0.2])
def test_room_for_what_is_computed_is_enough(family, tolerance):
    """No more than the tokens that the ordinary tower counts in each layer."""
    model, x = tower(family), normalised(flicker(9))
    ordinary = gated(model, tolerance=tolerance)
    expected = ordinary(x)
    room = exact_room(ordinary, x)
    fixed = gated(model, tolerance=tolerance, capacity=ordinary.last_work.kept, layer_capacity=room)
    assert_same(fixed(x), expected)
    fixed.check()
    assert room[-1] > ordinary.last_work.kept  # something became active
    tight = [min(each, room[-1] - 1) for each in room]
    fixed = gated(model, tolerance=tolerance, capacity=tight[0], layer_capacity=tight)
    fixed(x)
    assert fixed.last_layer_overflow.sum() > 0


def exact_room(ordinary: Any, x: Tensor) -> list[int]:
    """Cells that leave each layer: by trying smaller and smaller ones."""
    model, kept = ordinary.tower, ordinary.last_work.kept
    room = [9 * N] * 3
    for layer in range(3):
        low, high = kept if not layer else room[layer - 1], 9 * N
        while low < high:
            middle = (low + high) // 2
            tried = [*room[:layer], middle, *[max(middle, each) for each in room[layer + 1 :]]]
            fixed = gated(
                model, tolerance=ordinary.fidelity.tolerance, capacity=kept, layer_capacity=tried
            )
            fixed(x)
            late = int(fixed.last_layer_overflow[: layer + 2].sum())
            low, high = (middle + 1, high) if late else (low, middle)
        room[layer] = low
    return room


@pytest.mark.parametrize(
    "name",
    ["dinov2", "registers, smaller", "dinov3, wider", "vit", "internvl, everything, wider",
     "smolvlm, larger", "timm", "eva, 02", "eva, dinov3", "eva, mixed"],
)  # fmt: skip
def test_other_families(name):
    """CLS and registers, rotated positions, pictures of another size than the tower's own."""
    case = CASES[name]()
    x = case.inputs(case.camera(6))
    for settings in ({"threshold": 0, "tolerance": 0}, {"tolerance": 0.1}):
        ordinary = case.gated(x, **settings)
        fixed = families_gated(case.model, **settings, capacity=6 * case.cells)
        out = output_of(fixed(**x))
        fixed.check()
        if settings["tolerance"]:
            out = output_of(compiled(fixed)(**x))
        for key, expected in ordinary.items():
            torch.testing.assert_close(out[key], expected, **EXACT)


@both
def test_clips_know_nothing_of_each_other(family):
    model, x = tower(family), normalised(torch.cat([flicker(4), flicker(3)]))
    fixed = gated(model, capacity=4 * N)
    assert_same(fixed(x, clip_lengths=[4, 3]), gated(model)(x, clip_lengths=[4, 3]))


@both
def test_gradients_are_those_of_the_ordinary_gated_tower(family):
    grads = []
    for call in (gated(tower(family), capacity=4 * N), gated(tower(family))):
        x = normalised(flicker(4)).requires_grad_()
        with torch.enable_grad():
            call(x).pooler_output.square().sum().backward()
        weight = call.encoder.layers[0].self_attn.q_proj.weight
        grads.append((x.grad, weight.grad))
    assert float(grads[0][1].abs().sum()) > 0
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


# One graph.


@both
def test_it_compiles_to_one_graph_for_all_clips(family):
    model, settings = tower(family), {"capacity": 2 * N, "layer_capacity": 3 * N}
    eager, graph = gated(model, **settings), compiled(gated(model, **settings))
    for number, clip in enumerate([flicker, camera, noise]):  # the last does not fit
        x = normalised(clip(4))
        with torch.compiler.set_stance("fail_on_recompile" if number else "default"):
            assert_same(graph(x), eager(x))
        assert torch.equal(graph.last_overflow, eager.last_overflow)
        assert torch.equal(graph.last_layer_overflow, eager.last_layer_overflow)
    assert eager.last_overflow.tolist() == [2 * N]


@both
@pytest.mark.slow
def test_inductor_gives_what_eager_gives(family):
    x, fixed = normalised(camera(4)), gated(tower(family), capacity=4 * N)
    assert_same(compiled(fixed, "inductor")(x), fixed(x))


# More than fits.


@both
@clips
def test_without_room_for_them_tokens_stay_as_they_are(family, clip):
    """Nothing becomes active, nothing is embedded anew: plain residual attention."""
    model, x = tower(family), normalised(clip(5))
    plain = gated(model, tolerance=math.inf, **LENDING)
    expected = plain(x)
    kept = plain.last_work.kept
    fixed = gated(model, tolerance=0.01, capacity=kept, layer_capacity=kept)
    out = fixed(x)
    if family == "siglip":  # CLIP's CLS, in frames that keep nothing, has room of its own
        torch.testing.assert_close(out.last_hidden_state, expected.last_hidden_state, **EXACT)
    if clip is not noise:
        assert fixed.last_layer_overflow.sum() > 0
        with pytest.raises(ValueError, match=r"layer_capacity: tokens more than .* \d+ in layer 0"):
            fixed.check()


@both
def test_the_first_frames_are_right_while_there_is_room(family):
    model, x = tower(family), normalised(flicker(9))
    expected = gated(model, tolerance=0)(x).last_hidden_state
    right = []
    for room in (2 * N + 3, 4 * N, 9 * N):
        fixed = gated(model, tolerance=0, capacity=2 * N, layer_capacity=room)
        close = (fixed(x).last_hidden_state - expected).abs().amax((1, 2)) < 1e-10  # [T]
        right.append(int(close.int().cumprod(0).sum()))
        assert (right[-1] == 9) == (int(fixed.last_layer_overflow.sum()) == 0)
    assert 0 < right[0] < right[1] < right[2] == 9


@both
def test_moved_cells_that_do_not_fit_are_counted(family):
    model, x = tower(family), normalised(camera(6))
    settings = {"tolerance": math.inf, "on_motion": "reuse"}
    lending = gated(model, **settings, **LENDING)
    expected, kept = lending(x), lending.last_work.kept
    fixed = gated(model, **settings, capacity=kept, layer_capacity=kept)
    torch.testing.assert_close(fixed(x).last_hidden_state, expected.last_hidden_state, **EXACT)
    assert fixed.last_layer_overflow[0] > 0
    with pytest.raises(ValueError, match=r"layer_capacity: tokens more than .* \d+ on entering"):
        fixed.check()


# The parts.


class Moving:
    """Cells that are new, that move (back to older frames, too) or that stand still."""

    def __init__(self, frames: int, prefix: int) -> None:
        self.mask = torch.rand(frames, N) < 0.15
        self.mask[0] = True
        self.source, count = torch.empty(frames, N, dtype=torch.int64), 0
        for t in range(frames):
            if t:
                self.source[t] = self.source[t - 1]
                moves = (torch.rand(N) < 0.2) & ~self.mask[t]
                self.source[t, moves] = torch.randint(0, count, (int(moves.sum()),))
            new = int(self.mask[t].sum())
            self.source[t, self.mask[t]] = count + torch.arange(new)
            count += new
        before = torch.cat([self.source[:1], self.source[:-1]])
        self.moved = ~self.mask & (self.source != before)
        self.slots = Slots.of(self.source, self.moved, prefix, 0, count)
        cells = self.mask.flatten().nonzero().flatten()
        kept = Fitting(cells, self.mask, self.source, torch.zeros(1, dtype=torch.int64))
        self.lineage = Lineage.of(kept, self.moved, prefix)


@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("seed", range(10))
def test_parents_are_those_of_slots(seed, prefix):
    torch.manual_seed(seed)
    clip = Moving(8, prefix)
    assert torch.equal(clip.lineage.parent[1:], clip.slots.parent[1:])
    active = torch.cat([torch.rand(8, prefix) < 0.5, clip.mask | (torch.rand(8, N) < 0.2)], 1)
    active[0] = True
    shown = clip.slots.rows(active, clip.source.new_empty(0), 0)
    assert torch.equal(clip.lineage.shown(active), shown)
