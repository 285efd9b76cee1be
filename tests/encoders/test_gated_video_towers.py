"""Towers with attention over space and time, gated, against their own call on kept cells.

Letters: T tubelets, N cells of a frame, K kept cells, P patch side.
"""

from typing import Any

import pytest
import torch
from gate_videos import pan, texture
from gated_cases import MEAN, STD
from qwen_cases import randomise
from torch import Tensor, nn

import patchgate
from patchgate.colour import rgb_to_ycbcr
from patchgate.encoders.gated.clips import gated_clips, is_space_time

transformers = pytest.importorskip("transformers")

EXACT = {"rtol": 0, "atol": 1e-10}  # float64: rounding only
SIDE, P, T = 24, 8, 4
N = (SIDE // P) ** 2
_SHARED = {
    "hidden_size": 36,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "patch_size": P,
    "tubelet_size": 2,
}
both = pytest.mark.parametrize("name", ["vjepa2", "videomae"])


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def model_of(name: str, dtype: torch.dtype = torch.float64, **changes: Any) -> nn.Module:
    """A whole model of random weights."""
    if name == "vjepa2":
        own = {"crop_size": SIDE, "frames_per_clip": 2 * T, "mlp_ratio": 1.5}
        small = {"pred_hidden_size": 12, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
        config = transformers.VJEPA2Config(**{**_SHARED, **own, **small, **changes})
        return randomise(transformers.VJEPA2Model(config), dtype)
    own = {"image_size": SIDE, "num_frames": 2 * T, "use_mean_pooling": False}
    config = transformers.VideoMAEConfig(**{**_SHARED, **own, **changes})
    return randomise(transformers.VideoMAEModel(config), dtype)


def tower_of(name: str, *args: Any, **changes: Any) -> nn.Module:
    model = model_of(name, *args, **changes)
    return model.encoder if name == "vjepa2" else model


def on_kept(name: str, model: Any, clip: Tensor, index: Tensor) -> Tensor:
    """The tower's own modules on the kept cells of a clip, ``[K, D]``."""
    if name == "videomae":
        masked = torch.ones(1, T * N, dtype=torch.bool)
        masked[0, index] = False
        return model(clip[None], bool_masked_pos=masked).last_hidden_state[0]
    x = model.embeddings(clip[None])[:, index]
    for layer in model.layer:
        x = layer(x, position_mask=index[None])[0]
    return model.layernorm(x)[0]


def flicker(seed: int = 0) -> Tensor:
    """A still picture with some new cells in each tubelet but the third, uint8."""
    random = torch.Generator().manual_seed(seed)
    frames = texture((SIDE, SIDE), seed, 3).expand(2 * T, -1, -1, -1).clone()
    for t in (1, 3):
        for cell in torch.randperm(N, generator=random)[:2].tolist():
            y, x = cell // (SIDE // P) * P, cell % (SIDE // P) * P
            new = torch.randint(0, 256, (3, P, P), generator=random, dtype=torch.uint8)
            frames[2 * t :, :, y : y + P, x : x + P] = new
    return frames


def camera(seed: int = 0) -> Tensor:
    return pan((SIDE, SIDE), T, (1, 3), seed, 3).repeat_interleave(2, 0)


def noise(seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2 * T, 3, SIDE, SIDE), generator=random, dtype=torch.uint8)


def normalised(rgb: Tensor) -> Tensor:
    mean, std = (torch.tensor(each, dtype=torch.float64)[:, None, None] for each in (MEAN, STD))
    return (rgb.double() / 255 - mean) / std


def gated(model: nn.Module, **settings: Any) -> Any:
    return gated_clips(model, mean=MEAN, std=STD, **{"context": "kept", **settings})


@both
def test_everything_changed_is_the_dense_tower(name):
    model = tower_of(name)
    clips = torch.stack([normalised(noise(seed)) for seed in range(2)])
    dense, sparse = model(clips), gated(model)
    ours = sparse(clips)
    assert type(ours) is type(dense)
    torch.testing.assert_close(ours.last_hidden_state, dense.last_hidden_state, **EXACT)
    assert torch.equal(sparse(clips, return_dict=False)[0], ours.last_hidden_state)
    assert (sparse.last_work.kept, sparse.last_work.flops_ratio) == (2 * T * N, 1)


@both
@pytest.mark.parametrize("clip", [flicker, camera])
def test_each_cell_shows_its_source_among_kept_cells(name, clip):
    model, frames = tower_of(name), clip()
    result = patchgate.Gate(patch=P, temporal_patch=2).push(rgb_to_ycbcr(frames))
    index = (result.kind.flatten() == 2).nonzero().flatten()
    assert N < len(index) < T * N
    sparse = gated(model)
    out = sparse(normalised(frames)[None]).last_hidden_state[0]
    expected = on_kept(name, model, normalised(frames), index)[result.source.flatten()]
    torch.testing.assert_close(out, expected, **EXACT)
    assert sparse.last_work.kept == len(index)


@both
def test_work_falls_faster_than_tokens(name):
    """Attention is over all tokens of the clip: a still one costs less than a share of T."""
    sparse = gated(tower_of(name))
    sparse(normalised(noise()[:1].expand(2 * T, -1, -1, -1))[None])
    assert (sparse.last_work.kept, sparse.last_work.encoded_frames) == (N, 1)
    d, wide, k = 36, 40 if name == "videomae" else 54, T * N
    patch = 2 * 3 * 2 * P * P * d
    dense = k * patch + 3 * (k * (8 * d * d + 4 * d * wide) + 4 * d * k * k)
    kept = N * patch + 3 * (N * (8 * d * d + 4 * d * wide) + 4 * d * N * N)
    assert (sparse.last_work.dense_flops, sparse.last_work.gated_flops) == (dense, kept)
    assert sparse.last_work.flops_ratio > T


def test_vjepa2_goes_on_with_a_gated_encoder():
    model = model_of("vjepa2")
    clips = normalised(noise())[None]
    dense, names = model(clips), [name for name, _ in model.named_parameters()]
    model.encoder = gated(model.encoder)
    ours = model(clips)
    assert [name for name, _ in model.named_parameters()] == names
    torch.testing.assert_close(ours.last_hidden_state, dense.last_hidden_state, **EXACT)
    torch.testing.assert_close(
        ours.predictor_output.last_hidden_state, dense.predictor_output.last_hidden_state, **EXACT
    )


def test_videomae_classifies_with_a_gated_tower():
    config = model_of("videomae").config
    model = randomise(transformers.VideoMAEForVideoClassification(config))
    clips = normalised(noise())[None]
    dense = model(clips).logits
    model.videomae = gated(model.videomae)
    torch.testing.assert_close(model(clips).logits, dense, **EXACT)


def test_mean_pooling_has_no_last_norm():
    model = tower_of("videomae", use_mean_pooling=True)
    clips = normalised(noise())[None]
    ours = gated(model)(clips).last_hidden_state
    torch.testing.assert_close(ours, model(clips).last_hidden_state, **EXACT)


@both
def test_gradients_reach_the_weights_and_the_kept_pixels(name):
    model, clips = tower_of(name), normalised(flicker())[None].requires_grad_()
    with torch.enable_grad():
        gated(model)(clips).last_hidden_state.pow(2).sum().backward()
    result = patchgate.Gate(patch=P, temporal_patch=2).push(rgb_to_ycbcr(flicker()))
    changed = clips.grad[0].abs().unflatten(0, (T, 2)).sum((1, 2))  # [T, H, W]
    changed = changed.unflatten(1, (-1, P)).unflatten(3, (-1, P)).sum((2, 4)) > 0
    assert torch.equal(changed, result.kind == 2)
    assert next(model.parameters()).grad.abs().sum() > 0


@both
def test_the_processors_normalisation_is_read(name):
    class Processor:
        do_rescale = do_normalize = True
        rescale_factor, image_mean, image_std = 1 / 255, list(MEAN), list(STD)

    model, clips = tower_of(name), normalised(flicker())[None]
    ours = gated_clips(model, Processor(), context="kept")(clips).last_hidden_state
    assert torch.equal(ours, gated(model)(clips).last_hidden_state)
    for flag in ("do_rescale", "do_normalize"):
        other = type("Other", (Processor,), {flag: False})
        with pytest.raises(ValueError, match=f"expected one with {flag}=True"):
            gated_clips(model, other(), context="kept")


@both
@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"context": "full"}, ValueError, "attends over space and time"),
        ({"patch": 4}, ValueError, "patch: the tower has patch=8, got 4"),
        ({"temporal_patch": 1}, ValueError, "temporal_patch: the tower has temporal_patch=2"),
        ({"fit": "crop"}, ValueError, "fit: the tower has fit=stretch, got crop"),
        ({"colour": 1}, TypeError, "gated: expected settings of .*threshold.*, got 'colour'"),
        ({"std": None}, ValueError, r"expected both mean= and std="),
        ({"mean": None, "std": None}, ValueError, "got neither"),
    ],
)
def test_settings_that_do_not_fit_are_refused(name, settings, error, message):
    with pytest.raises(error, match=message):
        gated_clips(tower_of(name), **{"mean": MEAN, "std": STD, "context": "kept", **settings})


@both
@pytest.mark.parametrize(
    ("clips", "error", "message"),
    [
        (torch.zeros(1, 8, 3, 24, 24, dtype=torch.uint8), TypeError, "expected normalised floats"),
        (None, TypeError, "expected normalised floats, got NoneType"),
        (torch.zeros(8, 3, 24, 24), ValueError, r"expected \[B, T, 3, H, W\]"),
        (torch.zeros(0, 8, 3, 24, 24), ValueError, r"expected \[B, T, 3, H, W\]"),
        (torch.zeros(1, 7, 3, 24, 24), ValueError, "whole tubelets of 2 frames, got 7"),
        (torch.zeros(1, 8, 3, 32, 24), ValueError, "pixel values: the tower"),
        (torch.full((1, 8, 3, 24, 24), 9.0), ValueError, "as RGB, expected"),
    ],
)
def test_clips_that_do_not_fit_are_refused(name, clips, error, message):
    with pytest.raises(error, match=message):
        gated(tower_of(name))(clips)


@both
def test_options_that_a_packed_tower_lacks_are_refused(name):
    sparse, clips = gated(tower_of(name)), normalised(noise())[None]
    sparse(clips, output_attentions=False, output_hidden_states=None)
    with pytest.raises(TypeError, match="does not take output_hidden_states"):
        sparse(clips, output_hidden_states=True)


def test_other_towers_are_refused():
    assert is_space_time(tower_of("vjepa2"))
    assert not is_space_time(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="Linear is not supported; supported are VJEPA2Encoder"):
        gated(nn.Linear(1, 1))
