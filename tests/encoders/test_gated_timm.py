"""timm's towers: forward_features, and Eva's own.

Letters: T frames, D features.
"""

import pytest
import torch
from family_models import EVA_DINOV3, the_timm, timm_eva, timm_vit, vit
from gated_families import Case, gated, output_of

import patchgate

EXACT = {"rtol": 0, "atol": 1e-10}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


# Features of a timm model before its head.


@pytest.mark.parametrize(
    "make",
    [
        timm_vit,
        lambda: timm_vit(global_pool="map", class_token=False, reg_tokens=1),
        lambda: timm_vit(global_pool="", num_classes=0),
        lambda: timm_eva(**EVA_DINOV3),
    ],
)
def test_forward_features_are_those_of_the_dense_model(make):
    case = Case(make())
    noise, flicker = (case.inputs(clip(6))["pixel_values"] for clip in (case.noise, case.flicker))
    sparse = gated(case.model, threshold=0, tolerance=0, search_radius=0)
    for x in (noise, flicker):
        features = case.model.forward_features(x)
        torch.testing.assert_close(sparse.forward_features(x), features, **EXACT)
        torch.testing.assert_close(sparse(x), case.model(x), **EXACT)
        ours = sparse.forward_head(sparse.forward_features(x))
        torch.testing.assert_close(ours, case.model(x), **EXACT)
    assert sparse.last_work.kept_share < 0.5


def test_forward_features_of_a_stream_and_compiled_with_a_capacity():
    case = Case(timm_vit())
    x = case.inputs(case.flicker(8))["pixel_values"]
    whole = gated(case.model).forward_features(x)
    stream = gated(case.model).stream()
    parts = [stream.forward_features(x[:3]), stream.forward_features(x[3:5])]
    stream(x[5:6])  # the two may be mixed
    parts.append(whole[5:6])
    parts.append(stream.forward_features(x[6:]))
    torch.testing.assert_close(torch.cat(parts), whole, **EXACT)
    fixed = gated(case.model, capacity=8 * case.cells, layer_capacity=8 * case.cells)
    graph = torch.compile(
        lambda pixels: fixed.forward_features(pixels),
        fullgraph=True,
        dynamic=False,
        backend="eager",
    )
    torch.testing.assert_close(graph(x), whole, **EXACT)


def test_forward_features_of_a_head_for_each_token_are_refused():
    sparse = gated(timm_vit(global_pool=""))
    x = Case(sparse.tower).inputs(Case(sparse.tower).still(2))["pixel_values"]
    with pytest.raises(ValueError, match="make it with num_classes=0"):
        sparse.forward_features(x)
    with pytest.raises(AttributeError, match="forward_features"):
        gated(vit()).forward_features(x)


# Eva.


def test_published_variants_of_eva_are_gated():
    """As timm makes them, with fewer and narrower layers."""
    timm = the_timm()
    small = {"depth": 2, "embed_dim": 48, "num_heads": 3, "num_classes": 0, "img_size": 64}
    names = ["eva02_tiny_patch14_224", "vit_small_patch16_dinov3", "eva_giant_patch14_224",
             "vit_small_patch16_rope_mixed_224", "vit_small_plus_patch16_dinov3_qkvb",
             "eva02_base_patch16_clip_224", "vit_small_patch16_rope_ape_224"]  # fmt: skip
    for name in names:
        model = timm.create_model(name, **small).double().eval()
        random = torch.Generator().manual_seed(0)
        for key, weight in model.named_parameters():
            unit = float("norm" in key and "weight" in key)
            weight.copy_(
                torch.randn(weight.shape, generator=random, dtype=weight.dtype) * 0.2 + unit
            )
        x = torch.rand(2, 3, 64, 64, generator=random, dtype=torch.float64)
        ours = patchgate.gated(model, mean=0.0, std=1.0, tolerance=0, threshold=0)(x)
        torch.testing.assert_close(ours, model(x), **EXACT)


def test_angles_follow_the_tower_to_another_dtype_and_size():
    case = Case(timm_eva(**EVA_DINOV3))
    sparse = gated(case.model)
    for size in ((32, 32), (24, 40), (32, 32)):
        sized = Case(case.model, size)
        x = sized.inputs(sized.noise(2))
        torch.testing.assert_close(output_of(sparse(**x)), sized.dense(x), **EXACT)
    case.model.float()
    x = case.inputs(case.noise(2))
    torch.testing.assert_close(output_of(sparse(**x)), case.dense(x), rtol=1e-4, atol=1e-4)


def test_angles_that_training_moves_are_refused():
    model = timm_eva(**EVA_DINOV3, rope_rescale_coords=2.0)
    case = Case(model)
    x, sparse = case.inputs(case.still(2)), gated(model)
    sparse(**x)
    sparse.train()
    with pytest.raises(ValueError, match="training mode with rope_rescale_coords"):
        sparse(**x)


def test_learned_angles_get_gradients():
    model = timm_eva(rope_type="mixed", use_rot_pos_emb=True, rope_grid_indexing="xy")
    case = Case(model)
    x, grads = case.inputs(case.noise(2))["pixel_values"], []
    for call in (model, gated(model)):
        model.zero_grad()
        with torch.enable_grad():
            call(x).square().sum().backward()
        grads.append(model.rope.freqs.grad.clone())
    assert grads[0].abs().sum() > 0
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-8, atol=1e-8)
