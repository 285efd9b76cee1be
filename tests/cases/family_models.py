"""Tiny random towers of each family."""

from typing import Any

import pytest
import torch
from gated_cases import P, transformers
from torch import nn

SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": 32,
    "patch_size": P,
}
DINOV2 = {**SMALL, "mlp_ratio": 2, "layerscale_value": 0.7}
DINOV3 = {**SMALL, "intermediate_size": 40, "num_register_tokens": 2}
SIGLIP2 = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "num_patches": 16,
    "patch_size": P,
}
TIMM = {"img_size": 32, "patch_size": P, "embed_dim": 24, "depth": 3, "num_heads": 3,
        "num_classes": 7}  # fmt: skip
SQUARE = {**SMALL, "intermediate_size": 40}
INTERNVL = {**SQUARE, "layer_scale_init_value": 0.7, "use_absolute_position_embeddings": True,
            "use_mean_pooling": False}  # fmt: skip


def randomised(model: nn.Module) -> nn.Module:
    """Random weights, biases, norms, scales and tokens, so that none can be skipped unnoticed."""
    random, model = torch.Generator().manual_seed(3), model.double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Of float64: a rounding to float32 on the way is the tower's, and must be ours.
            noise = torch.randn(parameter.shape, generator=random, dtype=torch.float64) * 0.3
            parameter.copy_(noise + float("norm" in name and "weight" in name))
    return model.eval()


def dinov2(**changes: Any) -> nn.Module:
    config = transformers.Dinov2Config(**{**DINOV2, **changes})
    return randomised(transformers.Dinov2Model(config))


def registers(**changes: Any) -> nn.Module:
    settings = {**DINOV2, "num_register_tokens": 2, **changes}
    config = transformers.Dinov2WithRegistersConfig(**settings)
    return randomised(transformers.Dinov2WithRegistersModel(config))


def dinov3(**changes: Any) -> nn.Module:
    config = transformers.DINOv3ViTConfig(**{**DINOV3, **changes})
    return randomised(transformers.DINOv3ViTModel(config))


def siglip2(**changes: Any) -> nn.Module:
    config = transformers.Siglip2VisionConfig(**{**SIGLIP2, **changes})
    return randomised(transformers.Siglip2VisionModel(config))


def timm_vit(**changes: Any) -> nn.Module:
    return randomised(the_timm().models.VisionTransformer(**{**TIMM, **changes}))


def with_gates() -> nn.Module:
    model, attention = timm_vit(), the_timm().layers.Attention
    for block in model.blocks:
        block.attn = attention(24, 3, qkv_bias=True, gated=True)
    return randomised(model)


def distilled() -> nn.Module:
    from_timm = the_timm().models.deit.VisionTransformerDistilled
    return randomised(from_timm(**TIMM))


def the_timm() -> Any:
    """timm; skips where it cannot be used: its torchvision is often built for another torch."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm: {error}")
    return timm


def vit(pools: bool = True, **changes: Any) -> nn.Module:
    config = transformers.ViTConfig(**{**SQUARE, **changes})
    return randomised(transformers.ViTModel(config, add_pooling_layer=pools))


def internvl(**changes: Any) -> nn.Module:
    config = transformers.InternVLVisionConfig(**{**INTERNVL, **changes})
    return randomised(transformers.InternVLVisionModel(config))


def idefics3(**changes: Any) -> nn.Module:
    made = transformers.models.idefics3
    config = made.configuration_idefics3.Idefics3VisionConfig(**{**SQUARE, **changes})
    return randomised(made.modeling_idefics3.Idefics3VisionTransformer(config))


def smolvlm(**changes: Any) -> nn.Module:
    made = transformers.models.smolvlm
    config = made.configuration_smolvlm.SmolVLMVisionConfig(**{**SQUARE, **changes})
    return randomised(made.modeling_smolvlm.SmolVLMVisionTransformer(config))


# Their sizes are TIMM's. EVA's own: learned positions, and queries and values with a bias.
EVA02 = {"qkv_fused": False, "swiglu_mlp": True, "scale_mlp": True, "use_rot_pos_emb": True,
         "ref_feat_shape": (16, 16)}  # fmt: skip
EVA_DINOV3 = {"dynamic_img_size": True, "qkv_bias": False, "init_values": 0.5,
              "rope_type": "dinov3", "rope_temperature": 100, "rope_rotate_half": True,
              "use_rot_pos_emb": True, "use_abs_pos_emb": False, "num_reg_tokens": 2,
              "use_fc_norm": False}  # fmt: skip


def timm_eva(**changes: Any) -> nn.Module:
    return randomised(the_timm().models.eva.Eva(**{**TIMM, **changes}))
