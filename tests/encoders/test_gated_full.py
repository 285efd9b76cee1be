"""``context="full"``: residual attention and tolerance, against an oracle and the dense tower."""

import math

import pytest
import residual_oracle
import torch
from gate_videos import texture
from gated_cases import (
    FAMILIES,
    MEAN,
    SIDE,
    STD,
    N,
    P,
    camera,
    flicker,
    noise,
    normalised,
    rows_of,
    tower,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import patchgate
from patchgate.encoders.families import tower_of

EXACT = {"atol": 1e-10, "rtol": 0}
MODELS = {family: tower(family) for family in FAMILIES}
RULES = (
    {"tolerance": 0},
    {"tolerance": 0.03},
    {"tolerance": 0.2},
    {"tolerance": 0.05, "tolerance_layers": 1},
    {"tolerance": 0.1, "moved": "lend"},
    {"tolerance": math.inf},
    {"tolerance": math.inf, "moved": "lend"},
    {"tolerance": 0.2, "moved": "source"},
    {"tolerance": math.inf, "refresh": 3},
    {"tolerance": math.inf, "refresh": 3, "moved": "source"},
    {"tolerance": 0.3, "refresh": 4},
)
rules = pytest.mark.parametrize("rule", RULES, ids=str)
both = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def gated(family, **options):
    return patchgate.gated(MODELS[family], mean=MEAN, std=STD, **options)


def reuse(t: int, seed: int) -> Tensor:
    """A picture that pans while cells change."""
    frames = camera(t, seed)
    frames[t // 2 :, :, P : 2 * P, :P] = noise(1, seed)[:, :, :P, :P]
    return frames


def cuts(t: int, seed: int) -> Tensor:
    """New pictures frame after frame, then one of which cells change."""
    return torch.cat([noise(t - 4, seed), flicker(4, seed)])


def gate_of(sparse, x):
    """What the tower's own gate says: ``[T, N]`` kept, ``[T, N]`` source."""
    result = patchgate.Gate(**vars(sparse.gate_settings)).push(sparse._planes(x))
    return (result.kind == 2).flatten(1), result.source.flatten(1)


def kinds_of(sparse, x):
    """What the tower's own gate calls each cell, ``[T, N]``."""
    return patchgate.Gate(**vars(sparse.gate_settings)).push(sparse._planes(x)).kind.flatten(1)


def pictures(patches: Tensor, x: Tensor) -> Tensor:
    """``[T, N, 3 * P * P]`` as pictures ``[T, 3, H, W]``."""
    cells = patches.view(len(x), SIDE // P, SIDE // P, 3, P, P)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(x.shape)


def composed(sparse, x: Tensor, moved: str) -> Tensor:
    """The pictures that the tower computes, ``[T, 3, H, W]``: each cell shows its own pixels of the
    last frame in which it changed or moved, or its source's.
    """
    if moved == "source":
        mask, source = gate_of(sparse, x)
        return pictures(rows_of(x)[mask][source], x)
    frame = torch.arange(len(x))[:, None]
    last = torch.where(kinds_of(sparse, x) != patchgate.Kind.STATIC, frame, 0).cummax(0).values
    return pictures(rows_of(x)[last, torch.arange(N)], x)


@both
@rules
@pytest.mark.parametrize("video", [flicker, reuse, cuts], ids=lambda video: video.__name__)
def test_oracle(family, rule, video):
    x = normalised(video(7, 5))
    sparse = gated(family, on_motion="reuse", **rule)
    out = sparse(x).last_hidden_state
    mask, source = gate_of(sparse, x)
    names = {"tolerance_layers": "layers"}
    expected, computed = residual_oracle.encode(
        tower_of(MODELS[family]), rows_of(x)[mask], mask, source,
        own=rows_of(x), kind=kinds_of(sparse, x),
        **{names.get(name, name): value for name, value in rule.items()},
    )  # fmt: skip
    torch.testing.assert_close(out, expected, **EXACT)
    linear = tower_of(MODELS[family]).layer_flops(0)
    assert sparse.last_work.gated_flops > computed * linear


@both
@pytest.mark.parametrize("video", [flicker, camera, noise, cuts], ids=lambda video: video.__name__)
@pytest.mark.parametrize("moved", ["own", "source", "lend"])
def test_tolerance_0_is_the_dense_tower_over_the_composed_input(family, video, moved):
    x = normalised(video(9, 2))
    sparse = gated(family, tolerance=0, moved=moved)
    out = sparse(x, output_hidden_states=True)
    shown = composed(sparse, x, "source" if moved == "lend" else moved)
    dense = MODELS[family](shown, output_hidden_states=True)
    torch.testing.assert_close(out.last_hidden_state, dense.last_hidden_state, **EXACT)
    torch.testing.assert_close(out.pooler_output, dense.pooler_output, **EXACT)
    for mine, theirs in zip(out.hidden_states, dense.hidden_states, strict=True):
        torch.testing.assert_close(mine, theirs, **EXACT)


@both
def test_tolerance_0_on_exact_repeats_is_the_dense_tower(family):
    x = normalised(flicker(9))
    out = gated(family, tolerance=0, threshold=0, search_radius=None)(x)
    dense = MODELS[family](x)
    torch.testing.assert_close(out.last_hidden_state, dense.last_hidden_state, **EXACT)


@both
@rules
@settings(max_examples=6)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 99))
def test_any_chunking_is_the_whole(family, rule, chunks, seed):
    x = normalised(reuse(sum(chunks), seed))
    whole = gated(family, on_motion="reuse", scene_cut=None, **rule)
    stream = whole.stream()
    with torch.no_grad():
        expected = whole(x, output_hidden_states=[1])
        out = [stream(part, output_hidden_states=[1]) for part in x.split(chunks)]
    for name in ("last_hidden_state", "pooler_output"):
        torch.testing.assert_close(torch.cat([o[name] for o in out]), expected[name], **EXACT)
    states = torch.cat([o.hidden_states[1] for o in out])
    torch.testing.assert_close(states, expected.hidden_states[1], **EXACT)


@both
def test_a_still_clip_computes_its_first_frame_only(family):
    x = normalised(texture((SIDE, SIDE), 0, 3).expand(6, -1, -1, -1))
    sparse = gated(family)
    out = sparse(x).last_hidden_state
    assert (out == out[:1]).all()
    assert sparse.last_work.kept == N
    assert sparse.last_work.encoded_frames == 1
    flops = sparse.last_work.gated_flops
    sparse(x[:1])
    assert sparse.last_work.gated_flops == flops


@both
def test_less_tolerance_is_more_work_and_less_error(family):
    x = normalised(flicker(12, 4))
    plain = gated(family, tolerance=math.inf)
    exact = gated(family, tolerance=0)(x).last_hidden_state
    errors, flops = [], []
    for tolerance in (math.inf, 0.5, 0.1, 0.02, 0):
        sparse = gated(family, tolerance=tolerance)
        errors.append(float((sparse(x).last_hidden_state - exact).norm()))
        flops.append(sparse.last_work.gated_flops)
    plain(x)
    assert flops == sorted(flops)
    assert errors[0] > errors[2] > errors[4]
    assert errors[-1] < 1e-9
    assert flops[-1] > 2 * plain.last_work.gated_flops


@both
def test_sums_are_taken_anew_now_and_then(family, monkeypatch):
    """Exchanging keys and summing up anew are the same."""
    x = normalised(flicker(20, 6))
    often = gated(family, tolerance=0.1)(x).last_hidden_state
    monkeypatch.setattr("patchgate.encoders.run.waking._AGE", 0)
    always = gated(family, tolerance=0.1)(x).last_hidden_state
    torch.testing.assert_close(often, always, **EXACT)


@both
def test_memory_is_bounded(family):
    sparse = gated(family).stream()
    sizes = []
    for seed in range(12):
        sparse(normalised(noise(3, seed)))
        tables = [t for layer in sparse._now.memory.layers for t in layer.tables.values()]
        sizes.append(sum(t.numel() for t in tables))
    assert len(set(sizes[1:])) == 1


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("tolerance", [0.05, math.inf])
def test_dtypes(family, dtype, tolerance):
    """At most twice the error of the dense tower of the same dtype."""
    x = normalised(noise(3, 1))
    exact = MODELS[family](x).last_hidden_state
    model = tower(family, dtype)
    sparse = patchgate.gated(model, mean=MEAN, std=STD, tolerance=tolerance)
    mine, theirs = (call(x.to(dtype)).last_hidden_state for call in (sparse, model))
    assert mine.dtype == dtype
    assert (mine - exact).norm() <= 2 * (theirs - exact).norm()


@both
@pytest.mark.parametrize("tolerance", [0.05, math.inf])
def test_gradients(family, tolerance):
    """Those of the weights are those of finite differences."""
    model = tower(family)
    sparse = patchgate.gated(model, mean=MEAN, std=STD, tolerance=tolerance)
    x = normalised(flicker(5, 8))
    weight = model.encoder.layers[1].self_attn.k_proj.weight
    way = torch.randn(weight.shape, dtype=weight.dtype, generator=torch.Generator().manual_seed(1))
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(sparse(x).last_hidden_state.square().sum(), weight)
    slope, step = [], 1e-5
    for sign in (1, -1):
        weight += sign * step * way
        slope.append(sparse(x).last_hidden_state.square().sum())
        weight -= sign * step * way
    numeric = (slope[0] - slope[1]) / (2 * step)
    torch.testing.assert_close((gradient * way).sum(), numeric, rtol=1e-5, atol=0)


def test_encode_needs_sources():
    sparse = gated("siglip")
    x = normalised(noise(2))
    rows, cell = rows_of(x).flatten(0, 1), torch.arange(2 * N) % N
    ends = torch.tensor([0, N, 2 * N])
    with pytest.raises(ValueError, match="needs to know which token explains each cell"):
        sparse.encode(rows, cell, ends)
    source = torch.arange(2 * N).view(2, 4, 4)
    expected = MODELS["siglip"](x).last_hidden_state.flatten(0, 1)
    torch.testing.assert_close(sparse.encode(rows, cell, ends, source), expected, **EXACT)
    with pytest.raises(ValueError, match="ids of tokens up to their frame"):
        sparse.encode(rows, cell, ends, source.flip(0))
    with pytest.raises(ValueError, match=r"integers \[T, h, w\]"):
        sparse.encode(rows, cell, ends, source[:1])
    own = (torch.arange(N) - 1).clamp(min=0).view(1, 4, 4)
    with pytest.raises(ValueError, match="first frame that keeps every cell"):
        sparse.encode(rows[1:N], cell[1:N], torch.tensor([0, N - 1]), own)


@both
def test_float32_is_as_exact_as_the_dense_tower(family):
    """Sharp attention, so that sums change by orders of magnitude: digits lost stay lost."""
    model = tower(family)
    for layer in model.encoder.layers:
        layer.self_attn.q_proj.weight *= 3
    x = normalised(flicker(40, 3))
    exact = patchgate.gated(model, mean=MEAN, std=STD, tolerance=0)(x).last_hidden_state
    model = model.float()
    sparse = patchgate.gated(model, mean=MEAN, std=STD, tolerance=0)
    dense = model(composed(sparse, x.float(), "own")).last_hidden_state
    mine = sparse(x.float()).last_hidden_state
    assert (mine - exact).norm() <= 2 * (dense - exact).norm()


@both
def test_pixel_gradients_do_not_depend_on_runs(family, monkeypatch):
    x = normalised(reuse(6, 2))
    gradients = []
    for most in (8192, 1):  # all frames in a run, one frame a run
        monkeypatch.setattr("patchgate.encoders.run.clip._TOKENS", most)
        pixels = x.clone().requires_grad_()
        with torch.enable_grad():
            out = gated(family, on_motion="reuse", tolerance=math.inf, refresh=2)(pixels)
            gradients.append(torch.autograd.grad(out.last_hidden_state.square().sum(), pixels)[0])
    torch.testing.assert_close(*gradients, atol=1e-8, rtol=1e-8)


@both
def test_autocast_may_come_and_go(family):
    model, x = tower(family, torch.float32), normalised(flicker(4, 1)).float()
    stream = patchgate.gated(model, mean=MEAN, std=STD, tolerance=math.inf).stream()
    stream(x[:2])
    with torch.autocast("cpu", torch.bfloat16):
        assert stream(x[2:3]).last_hidden_state.isfinite().all()
    assert stream(x[3:]).last_hidden_state.isfinite().all()


@both
def test_a_moved_cell_is_computed_and_is_no_token(family):
    """What the gate emits does not depend on what the tower computes."""
    x = normalised(camera(9, 2))
    towers = {moved: gated(family, tolerance=math.inf, moved=moved) for moved in ("own", "lend")}
    for sparse in towers.values():
        sparse(x)
    own, lend = (sparse.last_work for sparse in towers.values())
    assert own.kept == lend.kept
    kinds = kinds_of(towers["own"], x)
    assert (kinds == patchgate.Kind.MOVED).any()
    linear = towers["own"]._tower.layer_flops(0) * towers["own"]._tower.depth
    moved = int((kinds == patchgate.Kind.MOVED).sum())
    assert own.gated_flops - lend.gated_flops >= moved * linear


@both
def test_the_old_name_of_moved_still_serves(family):
    x = normalised(camera(5, 2))
    for reposition, moved in ((True, "source"), (False, "lend")):
        message = f'reposition={reposition} is now moved="{moved}"'
        with pytest.warns(DeprecationWarning, match=message):
            old = gated(family, reposition=reposition)
        assert old.fidelity == gated(family, moved=moved).fidelity
        assert torch.equal(
            old(x).last_hidden_state, gated(family, moved=moved)(x).last_hidden_state
        )
    with pytest.raises(ValueError, match="reposition: it was renamed"):
        gated(family, reposition=True, moved="own")
    with pytest.raises(TypeError, match="reposition: expected True or False"):
        gated(family, reposition=1)
