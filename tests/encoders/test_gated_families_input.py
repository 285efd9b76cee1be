"""What the towers of DINOv2, DINOv3, SigLIP2 and timm refuse, and how they say so."""

import pytest
import torch
from family_models import (
    dinov2,
    dinov3,
    siglip2,
    the_timm,
    timm_eva,
    timm_vit,
)
from gated_families import CASES, Case, gated
from torch import nn

NAFLEX = Case(siglip2(), (24, 40), padding=3)
INPUTS = NAFLEX.inputs(NAFLEX.still(2))
NESTED = hasattr(dinov2().encoder.layer[0].attention, "attention")  # before transformers 5.18
DINOV2_QUERY = "attention.query" if NESTED else "q_proj"
X = Case(dinov2()).inputs(Case(dinov2()).still(2))["pixel_values"]


def without(model: nn.Module, path: str) -> nn.Module:
    owner, _, name = path.rpartition(".")
    delattr(model.get_submodule(owner), name)
    return model


def grown(model: nn.Module, path: str) -> nn.Module:
    model.get_submodule(path).add_module("extra", nn.Linear(2, 2).double())
    return model


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (dinov2, f"encoder.layer.1.attention.{DINOV2_QUERY}"),
        (dinov2, "encoder.layer.2.layer_scale1"),
        (dinov2, "layernorm"),
        (dinov2, "embeddings.cls_token"),
        (dinov3, "model.layer.0.mlp"),
        (dinov3, "rope_embeddings.inv_freq"),
        (dinov3, "embeddings.register_tokens"),
        (siglip2, "head.probe"),
        (siglip2, "encoder.layers.1.self_attn.q_proj"),
        (timm_vit, "blocks.1.attn.qkv"),
        (timm_vit, "norm_pre"),
    ],
)
def test_a_part_that_is_missing(model, path):
    with pytest.raises(TypeError, match=f"without {path} is not what gated.. knows"):
        gated(without(model(), path))


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (dinov2, "encoder.layer.1"),
        (dinov2, "encoder.layer.0.attention"),
        (dinov2, "embeddings"),
        (dinov3, "model.layer.2.attention"),
        (timm_vit, "blocks.1"),
        (timm_vit, "blocks.1.attn"),
        (timm_vit, "patch_embed"),
    ],
)
def test_a_part_that_would_be_passed_over(model, path):
    with pytest.raises(TypeError, match=f"with {path}.extra is not what gated.. knows"):
        gated(grown(model(), path))


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (dinov2, {"image_size": (32, 40)}, r"image_size of one number, got \(32, 40\)"),
        (dinov2, {"patch_size": (8, 4)}, r"patch_size of one number, got \(8, 4\)"),
        (dinov2, {"image_size": 7}, "image_size=7 holds no whole patch of 8 pixels"),
        (dinov3, {"num_channels": 1}, "3 channels and 8 pixels a side"),
        (
            siglip2,
            {"num_channels": 1},
            "8 pixels a side, 192 numbers, got a weight of",
        ),
        (timm_vit, {"patch_size": (8, 4)}, "patch_size of one number"),
        (timm_vit, {"dynamic_img_size": True, "dynamic_img_pad": True}, "dynamic_img_pad=False"),
    ],
)
def test_sizes_of_a_tower(model, changes, message):
    with pytest.raises(ValueError, match=message):
        gated(model(**changes))


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (dinov2, {"attention_probs_dropout_prob": 0.1}, "attention dropout 0.1"),
        (dinov2, {"hidden_dropout_prob": 0.2}, "dropout 0.2"),
        (dinov2, {"drop_path_rate": 0.3}, "drop path 0.3"),
        (dinov3, {"attention_dropout": 0.1, "pos_embed_rescale": None}, "attention dropout 0.1"),
        (dinov3, {}, "pos_embed_rescale, which moves the positions"),
        (dinov3, {"pos_embed_rescale": None, "pos_embed_shift": 0.1}, "pos_embed_shift"),
        (siglip2, {"attention_dropout": 0.1}, "attention dropout 0.1"),
        (timm_vit, {"drop_rate": 0.1}, r"Dropout \(head_drop\) of 0.1"),
        (timm_vit, {"attn_drop_rate": 0.1}, r"Dropout \(blocks.0.attn.attn_drop\) of 0.1"),
        (timm_vit, {"patch_drop_rate": 0.5}, r"PatchDropout \(patch_drop\) of 0.5"),
        (timm_vit, {"drop_path_rate": 0.4}, r"DropPath \(blocks.1.drop_path1\) of 0.2"),
    ],
)
def test_training_with_what_packing_leaves_out(model, changes, message):
    model = model(**changes)
    case = NAFLEX if "Siglip2" in type(model).__name__ else Case(model)
    x, sparse = case.inputs(case.still(2)), gated(model)
    sparse(**x)
    sparse.train()
    with pytest.raises(ValueError, match=f"in training mode with {message}"):
        sparse(**x)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers is renaming the switch
@pytest.mark.parametrize("name", ["dinov2", "registers", "siglip2", "timm"])
def test_training_without_it_is_let_through_but_not_checkpointing(name):
    case = CASES[name]()
    x, sparse = case.inputs(case.still(2)), gated(case.model)
    sparse.train()
    sparse(**x)
    if case.is_timm:
        case.model.set_grad_checkpointing()
    else:
        case.model.gradient_checkpointing_enable()
    with pytest.raises(ValueError, match="gradient checkpointing"):
        sparse(**x)


@pytest.mark.parametrize("option", ["bool_masked_pos", "attention_mask"])
def test_masks_of_the_call_are_refused(option):
    with pytest.raises(TypeError, match=f"does not take {option}"):
        gated(dinov2())(X, **{option: torch.ones(2, 16, dtype=torch.bool)})


def test_pictures_that_do_not_fit():
    with pytest.raises(ValueError, match="7 x 32 hold no whole patch of 8 pixels"):
        gated(dinov2())(X[:, :, :7])
    with pytest.raises(ValueError, match=r"expected \[T, 3, 32, 32\], got \[2, 2, 32, 32\]"):
        gated(dinov3())(X[:, :2])
    with pytest.raises(ValueError, match=r"pictures of \(32, 32\), got 32 x 24; .*dynamic_img"):
        gated(timm_vit())(X[..., :24])
    with pytest.raises(ValueError, match="pictures of multiples of 8, got 32 x 25"):
        gated(timm_vit(dynamic_img_size=True))(X[..., :25])


def test_a_stream_keeps_to_one_size():
    stream = gated(dinov2()).stream()
    stream(X)
    with pytest.raises(ValueError, match=r"cells=16.*cells=9.*reset"):
        stream(X[..., :24, :24])


def test_timm_kinds_that_look_alike():
    timm = the_timm()
    blocks = timm.models.vision_transformer
    with pytest.raises(TypeError, match=r"blocks.0 is a ResPostBlock; .*timm's Block combines"):
        gated(timm_vit(block_fn=blocks.ResPostBlock, init_values=1.0))
    with pytest.raises(
        TypeError, match=r"blocks.0.attn is a DiffAttention.*timm's Attention combines"
    ):
        gated(timm_vit(attn_layer="diff", num_heads=2))
    with pytest.raises(TypeError, match="NaFlexVit is not supported: it infers the grid"):
        gated(timm.models.naflexvit.NaFlexVit(embed_dim=24, depth=1, num_heads=2))
    with pytest.raises(TypeError, match=r"blocks.0 is an EvaBlockPostNorm; .*knows.*EvaBlock comb"):
        gated(timm_eva(use_post_norm=True))

    class Own(timm.models.VisionTransformer):
        def forward_features(self, x):
            return 2 * super().forward_features(x)

    with pytest.raises(TypeError, match="Own has a forward_features of its own"):
        gated(Own(img_size=32, patch_size=8, embed_dim=24, depth=1, num_heads=2))


def test_a_vision_transformer_of_another_library():
    kind = type("VisionTransformer", (nn.Module,), {})
    with pytest.raises(
        TypeError, match=r"VisionTransformer of \w+ is not supported.*timm's class of this name is"
    ):
        gated(kind())


def test_timms_other_methods_would_be_dense():
    sparse = gated(timm_vit())
    for name in ("forward_intermediates", "get_intermediate_layers"):
        with pytest.raises(AttributeError, match=f"{name} would compute every cell"):
            getattr(sparse, name)
    assert callable(sparse.forward_head)


def shapes(*rows: list[int]) -> dict[str, torch.Tensor]:
    return {"spatial_shapes": torch.tensor(rows)}


MASK = INPUTS["pixel_attention_mask"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"spatial_shapes": None}, TypeError, "spatial_shapes: expected a Tensor"),
        (shapes([3, 5]), ValueError, r"expected \[2, 2\], got \[1, 2\]"),
        (shapes([3, 5], [5, 3]), ValueError, r"one height and width in a call, got .*\[5, 3\]"),
        (shapes([3, 7], [3, 7]), ValueError, "3 x 7 patches do not fit in 18"),
        (shapes([0, 5], [0, 5]), ValueError, "0 x 5 patches do not fit"),
        (shapes([3, 4], [3, 4]), ValueError, "1 for the first 12 patches"),
        ({"pixel_attention_mask": None}, ValueError, r"expected \[T, 18\], 1 for the first 15"),
        ({"pixel_attention_mask": 1 - MASK}, ValueError, "1 for the first 15 patches"),
        ({"pixel_attention_mask": MASK[:1]}, ValueError, "pixel_attention_mask: expected"),
        ({"pixel_values": INPUTS["pixel_values"] + 0.1}, ValueError, "zeros after the 3 x 5"),
        ({"pixel_values": X}, ValueError, r"expected \[T, n, 192\], got \[2, 3, 32, 32\]"),
        ({"pixel_values": MASK}, TypeError, "normalised floats"),
    ],
)
def test_siglip2(changes, error, message):
    with pytest.raises(error, match=message):
        gated(NAFLEX.model)(**{**INPUTS, **changes})


def test_siglip2_without_padding_needs_no_mask():
    case = Case(siglip2(), (24, 40))
    x = case.inputs(case.still(2))
    with torch.no_grad():
        expected = gated(case.model)(**x).last_hidden_state
        assert torch.equal(
            gated(case.model)(x["pixel_values"], spatial_shapes=x["spatial_shapes"])[0], expected
        )


def test_siglip2_has_no_size_before_it_is_given_one():
    rows, cell, ends = torch.zeros(15, 192), torch.arange(15), torch.tensor([0, 15])
    sparse = gated(NAFLEX.model, context="kept")
    with pytest.raises(ValueError, match="no size of their own"):
        sparse.encode(rows, cell, ends)
    assert sparse.encode(rows, cell, ends, torch.arange(15).view(1, 3, 5)).shape == (15, 24)
