"""Gated towers of fixed capacity: the ordinary gated tower, in one graph.

Letters: T frames, N cells, K capacity, D features.
"""

import pytest
import torch
from fixed_cases import EXACT, FULL, assert_same, compiled, gated
from gated_cases import FAMILIES, N, camera, flicker, noise, normalised, rows_of, tower
from gated_families import CASES, output_of
from gated_families import gated as families_gated
from torch import Tensor

import patchgate
from patchgate.colour import rgb_to_ycbcr

both = pytest.mark.parametrize("family", FAMILIES)
contexts = pytest.mark.parametrize("context", [FULL, {"context": "kept"}], ids=["full", "kept"])
clips = pytest.mark.parametrize("clip", [flicker, camera, noise])


@pytest.fixture(autouse=True)
def _no_grad():
    torch._dynamo.reset()
    with torch.no_grad():
        yield


# The ordinary gated tower, where all that is kept fits.


@both
@contexts
@clips
@pytest.mark.parametrize("spare", [0, 1, 40])
def test_it_is_the_ordinary_gated_tower(family, context, clip, spare):
    model, x = tower(family), normalised(clip(9))
    ordinary = gated(model, **context)
    expected = ordinary(x, output_hidden_states=True)
    fixed = gated(model, **context, capacity=ordinary.last_work.kept + spare)
    out = fixed(x, output_hidden_states=True)
    assert_same(out, expected)
    for ours, theirs in zip(out.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)
    assert fixed.last_overflow.tolist() == [0]
    fixed.check()


@both
@pytest.mark.parametrize("settings", [{"on_motion": "reuse"}, {"max_age": 3}, {"threshold": 0}])
def test_the_gate_has_its_settings(family, settings):
    model, x = tower(family), normalised(camera(9))
    assert_same(gated(model, capacity=9 * N, **settings)(x), gated(model, **settings)(x))


@both
def test_frames_that_keep_nothing_show_the_last_outputs(family):
    still = noise(1).expand(3, -1, -1, -1)
    x = normalised(torch.cat([still, noise(1, seed=1).expand(2, -1, -1, -1)]))
    out, dense = gated(tower(family), capacity=2 * N)(x), tower(family)(x)
    assert_same(out, dense)


@both
def test_clips_know_nothing_of_each_other(family):
    model, x = tower(family), normalised(torch.cat([flicker(4), flicker(3)]))
    lengths = {"clip_lengths": [4, 3]}
    fixed = gated(model, capacity=4 * N)
    assert_same(fixed(x, **lengths), gated(model)(x, **lengths))
    with pytest.raises(ValueError, match=r"add up to the 7 frames"):
        fixed(x, clip_lengths=[4])


@pytest.mark.parametrize(
    "name",
    ["dinov2", "registers, smaller", "dinov3, wider", "vit", "internvl, everything, wider",
     "smolvlm, larger", "timm", "eva, 02", "eva, dinov3", "eva, mixed"],
)  # fmt: skip
def test_other_families(name):
    """CLS and registers, rotated positions, pictures of another size than the tower's own."""
    case = CASES[name]()
    x = case.inputs(case.camera(6))
    settings = {**FULL, "threshold": 0}
    ordinary = case.gated(x, **settings)
    fixed = families_gated(case.model, **settings, capacity=6 * case.cells)
    for call in (fixed, compiled(fixed)):
        out = output_of(call(**x))
        for key, expected in ordinary.items():
            torch.testing.assert_close(out[key], expected, **EXACT)


# One graph.


@both
@contexts
def test_it_compiles_to_one_graph_for_all_clips(family, context):
    model, capacity = tower(family), 4 * N
    eager = gated(model, **context, capacity=capacity)
    graph = compiled(gated(model, **context, capacity=capacity))
    for number, clip in enumerate([flicker, camera, noise]):  # the last does not fit
        x = normalised(clip(6))
        stance = "fail_on_recompile" if number else "default"
        with torch.compiler.set_stance(stance):
            assert_same(graph(x), eager(x))
        assert torch.equal(graph.last_overflow, eager.last_overflow)
    assert eager.last_overflow.tolist() == [6 * N - capacity]


@both
def test_hidden_states_and_tuples_compile_too(family):
    x, fixed = normalised(flicker(4)), gated(tower(family), capacity=3 * N)
    options = {"output_hidden_states": True, "return_dict": False}
    for ours, theirs in zip(compiled(fixed)(x, **options), fixed(x, **options), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


@both
@pytest.mark.slow
def test_inductor_gives_what_eager_gives(family):
    x, fixed = normalised(camera(6)), gated(tower(family), capacity=5 * N)
    assert_same(compiled(fixed, "inductor")(x), fixed(x))
    assert fixed.last_overflow.tolist() == [0]


@both
@pytest.mark.parametrize("wrap", [lambda module: module, compiled], ids=["eager", "compiled"])
def test_gradients_are_those_of_the_ordinary_gated_tower(family, wrap):
    grads = []
    for call in (wrap(gated(tower(family), capacity=3 * N)), gated(tower(family))):
        x = normalised(flicker(4)).requires_grad_()
        with torch.enable_grad():
            call(x).pooler_output.square().sum().backward()
        weight = call.encoder.layers[0].self_attn.q_proj.weight
        grads.append((x.grad, weight.grad))
    assert float(grads[0][1].abs().sum()) > 0
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


# More than fits.


def first_of(result: patchgate.GateResult, capacity: int) -> tuple[Tensor, Tensor]:
    """Cell by cell: which of the kept cells fit, and whose token each cell shows then, ``[T, N]``.

    A cell that does not fit shows what its place showed before, and so do those that name it.
    """
    kind, source = result.kind.flatten(1).tolist(), result.source.flatten(1).tolist()
    mask, shown, count = [], [], 0
    for t, frame in enumerate(kind):
        mask.append([])
        shown.append([])
        for n, what in enumerate(frame):
            mask[t].append(what == 2 and count < capacity)
            count += mask[t][n]
            shown[t].append(source[t][n] if source[t][n] < capacity else shown[t - 1][n])
    return torch.tensor(mask), torch.tensor(shown)


@both
@contexts
@clips
@pytest.mark.parametrize("capacity", [N, N + 1, 2 * N - 1, 3 * N])
def test_cells_that_do_not_fit_show_what_their_place_showed(family, context, clip, capacity):
    model, frames = tower(family), clip(9)
    x, result = normalised(frames), patchgate.Gate(patch=8).push(rgb_to_ycbcr(frames))
    kept, total = first_of(result, capacity), int((result.kind == 2).sum())
    mask, shown = kept
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)])
    source = shown.view_as(result.source)
    features = gated(model, **context).encode(rows_of(x)[mask], mask.nonzero()[:, 1], ends, source)
    fixed = gated(model, **context, capacity=capacity)
    out = fixed(x)
    prefix = int(family == "clip")
    torch.testing.assert_close(out.last_hidden_state[:, prefix:], features[shown], **EXACT)
    assert fixed.last_overflow.tolist() == [max(0, total - capacity)]

    busy = mask.any(1).tolist()
    for t in range(1, len(busy)):
        if not busy[t]:  # nothing of it fits, or nothing was kept
            assert torch.equal(out.pooler_output[t], out.pooler_output[t - 1])
            assert torch.equal(
                out.last_hidden_state[t, :prefix], out.last_hidden_state[t - 1, :prefix]
            )


@both
def test_check_says_how_many_did_not_fit(family):
    fixed = gated(tower(family), capacity=2 * N + 3)
    with pytest.raises(ValueError, match=r"check: expected a call before it"):
        fixed.check()
    fixed(normalised(noise(4)))
    with pytest.raises(ValueError, match=rf"capacity: {2 * N - 3} kept cells more"):
        fixed.check()
    fixed(normalised(noise(2)))
    fixed.check()
