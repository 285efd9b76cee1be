"""What a gated tower computes, against the tower's own modules run another way."""

import pytest
import torch
from gated_cases import (
    FAMILIES,
    MEAN,
    STD,
    N,
    camera,
    flicker,
    masked,
    noise,
    normalised,
    rows_of,
    tower,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import patchgate
from patchgate.colour import rgb_to_ycbcr

EXACT = {"rtol": 0, "atol": 1e-10}  # float64: rounding only
both = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def gated(model, **settings):
    return patchgate.gated(model, mean=MEAN, std=STD, **{"context": "kept", **settings})


def gate(frames: Tensor, **settings) -> patchgate.GateResult:
    return patchgate.Gate(patch=8, **settings).push(rgb_to_ycbcr(frames))


@both
def test_all_cells_kept_is_the_dense_tower(family):
    model, x = tower(family), normalised(noise(5))
    dense, sparse = (call(x, output_hidden_states=True) for call in (model, gated(model)))
    assert type(sparse) is type(dense)
    assert sparse.keys() == dense.keys()
    torch.testing.assert_close(sparse.last_hidden_state, dense.last_hidden_state, **EXACT)
    torch.testing.assert_close(sparse.pooler_output, dense.pooler_output, **EXACT)
    for ours, theirs in zip(sparse.hidden_states, dense.hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


@both
def test_pixels_beyond_the_last_whole_patch_are_dropped_as_by_the_convolution(family):
    """so400m/14-384 is 27 patches of 14 pixels a side, and 6 pixels that no patch covers."""
    model = tower(family, image_size=37)
    x = torch.rand(4, 3, 37, 37, dtype=torch.float64) * 2 - 1
    dense, sparse = model(x), gated(model, threshold=0)
    torch.testing.assert_close(sparse(x).last_hidden_state, dense.last_hidden_state, **EXACT)
    assert sparse.gate_settings.size == (32, 32)


@both
def test_a_still_clip_computes_its_first_frame_only(family):
    model, x = tower(family), normalised(noise(1).expand(6, -1, -1, -1))
    sparse = gated(model)
    out, dense = sparse(x), model(x[:1])
    for t in range(6):
        torch.testing.assert_close(out.last_hidden_state[t], dense.last_hidden_state[0], **EXACT)
        torch.testing.assert_close(out.pooler_output[t], dense.pooler_output[0], **EXACT)
    assert (sparse.last_work.kept, sparse.last_work.encoded_frames) == (N, 1)
    # SigLIP's gated pooling is less work per frame than the tower's own.
    assert 6 <= sparse.last_work.flops_ratio < (6.01 if family == "clip" else 8)


@both
@pytest.mark.parametrize("clip", [flicker, camera, noise])
@pytest.mark.parametrize("on_motion", ["camera", "reuse"])
def test_each_cell_shows_its_source(family, clip, on_motion):
    model, frames = tower(family), clip(9)
    x, result = normalised(frames), gate(frames, on_motion=on_motion)
    kept = (result.kind == 2).flatten(1)
    features, cls = masked(model, x, kept)
    sparse = gated(model, on_motion=on_motion)
    out = sparse(x)

    assert sparse.last_work.kept == len(features)
    expected = features[result.source.flatten(1)]  # [T, N, D]
    if cls is not None:
        last = kept.any(1).cumsum(0) - 1
        expected = torch.cat([cls[last][:, None], expected], 1)
        pooled = model.post_layernorm(cls)[last]
    else:
        last = [max(i for i in range(t + 1) if kept[i].any()) for t in range(len(x))]
        pooled = model.head(expected)[last]
    torch.testing.assert_close(out.last_hidden_state, expected, **EXACT)
    torch.testing.assert_close(out.pooler_output, pooled, **EXACT)


@both
@settings(max_examples=40)
@given(kept=st.lists(st.lists(st.booleans(), min_size=N, max_size=N), min_size=1, max_size=5))
def test_encode_is_the_tower_under_a_block_mask(family, kept):
    model, mask = tower(family), torch.tensor(kept)
    x = normalised(noise(len(mask)))
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)])
    flat = mask.nonzero()[:, 1]
    sparse = gated(model)
    out = sparse.encode(rows_of(x)[mask], flat, ends.int())
    if len(out):
        torch.testing.assert_close(out, masked(model, x, mask)[0], **EXACT)
    assert out.shape == (int(mask.sum()), 24)
    two = torch.stack([flat // 4, flat % 4], 1)
    assert torch.equal(sparse.encode(rows_of(x)[mask], two, ends), out)


@both
def test_many_groups_of_frames_are_one(family, monkeypatch):
    model, x = tower(family), normalised(flicker(12))
    whole = gated(model)(x)
    monkeypatch.setattr("patchgate.encoders.run.clip._ROWS", 5)
    parts = gated(model)(x)
    torch.testing.assert_close(parts.last_hidden_state, whole.last_hidden_state, **EXACT)
    torch.testing.assert_close(parts.pooler_output, whole.pooler_output, **EXACT)


@both
def test_clips_know_nothing_of_each_other(family):
    model = tower(family)
    first, second = normalised(flicker(4, 1)), normalised(flicker(3, 1))
    sparse = gated(model)
    out = sparse(torch.cat([first, second]), clip_lengths=[4, 3])
    apart = [gated(model)(clip) for clip in (first, second)]
    for name in ("last_hidden_state", "pooler_output"):
        torch.testing.assert_close(out[name], torch.cat([each[name] for each in apart]), **EXACT)
    assert sparse.last_work.kept >= 2 * N  # a key frame each


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_error_is_that_of_the_dense_tower(family, dtype):
    """At most twice the dense tower's own error in this dtype, against float64."""
    x = normalised(noise(4), dtype)
    exact, model = tower(family)(x.double()), tower(family, dtype)
    dense, sparse = model(x), gated(model)(x)
    for name in ("last_hidden_state", "pooler_output"):
        assert sparse[name].dtype == dtype
        errors = [(each[name].double() - exact[name]).abs().max() for each in (sparse, dense)]
        assert errors[0] <= 2 * errors[1]


@both
def test_pixels_of_another_float_are_cast_as_the_tower_does(family):
    model, x = tower(family, torch.bfloat16), normalised(noise(2), torch.float32)
    torch.testing.assert_close(
        gated(model)(x).last_hidden_state, model(x).last_hidden_state, rtol=0.05, atol=0.05
    )


@both
def test_the_gate_sees_what_the_processor_was_given(family):
    """Through float32 pixel values the gate decides as on the 8-bit frames."""
    frames = camera(8)
    sparse = gated(tower(family, torch.float32), threshold=3)
    sparse(normalised(frames, torch.float32))
    assert sparse.last_work.kept == int((gate(frames, threshold=3).kind == 2).sum())


@both
def test_autocast_is_that_of_the_dense_tower(family):
    model, x = tower(family, torch.float32), normalised(noise(3), torch.float32)
    exact = model(x).last_hidden_state
    with torch.autocast("cpu", torch.bfloat16):
        dense, sparse = (call(x).last_hidden_state for call in (model, gated(model)))
    assert (sparse - exact).abs().max() <= 2 * (dense - exact).abs().max()


@both
def test_gradients_reach_the_weights_and_the_kept_pixels(family):
    model, x = tower(family), normalised(flicker(4)).requires_grad_()
    with torch.enable_grad():
        gated(model)(x).pooler_output.sum().backward()
    kept = (gate(flicker(4)).kind == 2).flatten(1)
    assert torch.equal(rows_of(x.grad).abs().sum(2) > 0, kept)
    assert model.encoder.layers[0].self_attn.q_proj.weight.grad.abs().sum() > 0
