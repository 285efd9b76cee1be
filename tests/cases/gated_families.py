"""Tiny random towers of each family, their inputs, and their own modules run another way.

Letters: T frames, n tokens of a frame after its prefix, N cells, K kept patches, P patch side,
D features.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import pytest
import torch
from family_models import (
    EVA02,
    EVA_DINOV3,
    dinov2,
    dinov3,
    distilled,
    idefics3,
    internvl,
    registers,
    siglip2,
    smolvlm,
    timm_eva,
    timm_vit,
    vit,
    with_gates,
)
from gate_videos import pan, texture
from gated_cases import MEAN, STD, P, normalised
from torch import Tensor, nn

import patchgate


@dataclass
class Case:
    """A tower, and how it takes its frames."""

    model: nn.Module
    size: tuple[int, int] = (32, 32)  # of the pictures
    padding: int = 0  # patches of a frame (SigLIP2)

    @property
    def shape(self) -> tuple[int, int]:
        """``(h, w)`` cells."""
        return self.size[0] // P, self.size[1] // P

    @property
    def cells(self) -> int:
        return self.shape[0] * self.shape[1]

    def inputs(self, frames: Tensor) -> dict[str, Tensor]:
        """The arguments of a call, for uint8 frames ``[T, 3, H, W]``."""
        x = normalised(frames, next(self.model.parameters()).dtype)
        if not self.is_naflex:
            return {"pixel_values": x}
        h, w = self.shape
        rows = x.unflatten(3, (w, P)).unflatten(2, (h, P)).permute(0, 2, 4, 3, 5, 1)
        rows = nn.functional.pad(rows.reshape(len(x), h * w, P * P * 3), (0, 0, 0, self.padding))
        mask = (torch.arange(h * w + self.padding) < h * w).int().expand(len(x), -1)
        shapes = torch.tensor([[h, w]]).expand(len(x), 2)
        return {"pixel_values": rows, "pixel_attention_mask": mask, "spatial_shapes": shapes}

    def dense(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the tower itself puts out."""
        return output_of(self.model(*x.values()))

    def gated(self, x: dict[str, Tensor], **settings: Any) -> dict[str, Tensor]:
        """What it puts out when it is gated."""
        return output_of(gated(self.model, **settings)(**x))

    # Clips, uint8 [T, 3, H, W].

    def noise(self, t: int) -> Tensor:
        """Frames with nothing in common."""
        random = torch.Generator().manual_seed(0)
        return torch.randint(0, 256, (t, 3, *self.size), generator=random, dtype=torch.uint8)

    def still(self, t: int) -> Tensor:
        """One picture, t times."""
        return texture(self.size, 0, 3).expand(t, -1, -1, -1)

    def flicker(self, t: int) -> Tensor:
        """A still picture of which up to three random cells are new in each frame."""
        random, (h, w) = torch.Generator().manual_seed(1), self.shape
        frames = self.still(t).clone()
        for i in range(1, t):
            count = int(torch.randint(0, 4, (1,), generator=random))
            for cell in torch.randperm(h * w, generator=random)[:count].tolist():
                y, x = cell // w * P, cell % w * P
                new = torch.randint(0, 256, (3, P, P), generator=random, dtype=torch.uint8)
                frames[i:, :, y : y + P, x : x + P] = new
        return frames

    def camera(self, t: int) -> Tensor:
        """The camera pans slowly."""
        return pan(self.size, t, (1, 3), 0, 3)

    @property
    def is_naflex(self) -> bool:
        return "Siglip2" in type(self.model).__name__

    @property
    def is_eva(self) -> bool:
        return type(self.model).__name__ == "Eva"

    @property
    def is_timm(self) -> bool:
        return type(self.model).__module__.startswith("timm.")


CASES: dict[str, Callable[[], Case]] = {
    "dinov2": lambda: Case(dinov2()),
    "dinov2, SwiGLU, no qkv bias": lambda: Case(dinov2(use_swiglu_ffn=True, qkv_bias=False)),
    "dinov2, larger": lambda: Case(dinov2(), (40, 56)),
    "dinov2, same cells, not square": lambda: Case(dinov2(), (35, 37)),
    "registers": lambda: Case(registers()),
    "registers, smaller": lambda: Case(registers(), (24, 32)),
    "dinov3": lambda: Case(dinov3()),
    "dinov3, gated MLP, no registers": lambda: Case(
        dinov3(use_gated_mlp=True, num_register_tokens=0, key_bias=True, proj_bias=False)
    ),
    "dinov3, wider": lambda: Case(dinov3(), (24, 44)),
    "vit": lambda: Case(vit()),
    "vit, no pooling, not square": lambda: Case(vit(False, image_size=(24, 40)), (24, 40)),
    "internvl": lambda: Case(internvl()),
    "internvl, everything, wider": lambda: Case(
        internvl(use_qk_norm=True, norm_type="rms_norm", attention_bias=True), (24, 44)
    ),
    "internvl, no positions": lambda: Case(
        internvl(use_absolute_position_embeddings=False, use_mean_pooling=True)
    ),
    "idefics3": lambda: Case(idefics3()),
    "smolvlm, larger": lambda: Case(smolvlm(), (40, 60)),
    "siglip2": lambda: Case(siglip2(), (24, 40)),
    "siglip2, padded": lambda: Case(siglip2(), (24, 40), padding=3),
    "siglip2, no head": lambda: Case(siglip2(vision_use_head=False), (32, 32), padding=1),
    "timm": lambda: Case(timm_vit()),
    "timm, everything": lambda: Case(
        timm_vit(reg_tokens=2, qk_norm=True, init_values=0.5, pre_norm=True, no_embed_class=True,
                 scale_attn_norm=True, scale_mlp_norm=True, embed_norm_layer="layernorm")
    ),
    "timm, average": lambda: Case(timm_vit(global_pool="avg", class_token=False)),
    "timm, maximum": lambda: Case(timm_vit(global_pool="avgmax", fc_norm=False)),
    "timm, map": lambda: Case(timm_vit(global_pool="map", class_token=False, reg_tokens=1)),
    "timm, prr": lambda: Case(timm_vit(global_pool="prr")),
    "timm, gated attention": lambda: Case(with_gates()),
    "timm, distilled": lambda: Case(distilled()),
    "timm, no pooling": lambda: Case(timm_vit(global_pool="", fc_norm=True)),
    "timm, features": lambda: Case(timm_vit(global_pool="", num_classes=0, pos_embed="none")),
    "timm, any size": lambda: Case(timm_vit(dynamic_img_size=True), (24, 40)),
    "timm, cut off": lambda: Case(timm_vit(img_size=37), (37, 37)),
    "eva": lambda: Case(timm_eva(init_values=0.5, global_pool="token")),
    "eva, 02": lambda: Case(timm_eva(**EVA02)),
    "eva, dinov3": lambda: Case(timm_eva(**EVA_DINOV3), (24, 40)),
    "eva, any size": lambda: Case(timm_eva(dynamic_img_size=True, no_embed_class=True), (40, 24)),
    "eva, attention pool": lambda: Case(
        timm_eva(attn_type="rope", qkv_fused=False, num_kv_heads=1, qk_norm=True,
                 scale_attn_inner=True, use_rot_pos_emb=True, global_pool="map", class_token=False)
    ),
    "eva, mixed": lambda: Case(
        timm_eva(rope_type="mixed", rope_grid_indexing="xy", use_rot_pos_emb=True, num_reg_tokens=1,
                 use_pre_transformer_norm=True, global_pool="", no_embed_class=True)
    ),
}  # fmt: skip
each = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES), indirect=True)


def parts_of(model: Any) -> tuple[Any, Any, Any]:
    """The layers, the last norm and, of a tower that pools, what pools its tokens."""
    if hasattr(model, "forward_head"):
        return model.blocks, model.norm, model.forward_head
    if hasattr(model, "pooler"):  # ViT
        return model.layers, model.layernorm, model.pooler
    if hasattr(model, "post_layernorm"):
        return model.encoder.layers, model.post_layernorm, getattr(model, "head", None)
    if hasattr(model, "rope_embeddings"):
        return model.model.layer, model.norm, lambda x: x[:, 0]
    if "InternVL" in type(model).__name__:
        return model.encoder.layer, model.layernorm, None
    return model.encoder.layer, model.layernorm, lambda x: x[:, 0]


def embedded(case: Case, x: dict[str, Tensor]) -> Tensor:
    """The tokens of whole frames as they enter the first layer, by the tower's own modules:
    ``[T, prefix + N (+ padding), D]``.
    """
    model: Any = case.model
    if case.is_timm:
        tokens = model._pos_embed(model.patch_embed(x["pixel_values"]))
        return model.norm_pre(tokens[0] if case.is_eva else tokens)  # beside angles
    if case.is_naflex:
        return model.embeddings(x["pixel_values"], x["spatial_shapes"])
    if hasattr(model.embeddings, "num_patches_per_side"):
        mask = torch.ones(len(x["pixel_values"]), *case.shape, dtype=torch.bool)
        return model.embeddings(x["pixel_values"], mask)
    return model.embeddings(x["pixel_values"])


def masked(case: Case, x: dict[str, Tensor], kept: Tensor) -> Tensor:
    """The tower's own layers on whole frames, in which only kept tokens are attended to.

    Args:
        kept: ``[T, N]`` bool.

    Returns:
        ``[T, prefix + N (+ padding), D]`` last hidden states; of the kept cells, the prefix and
        the padding they are right.
    """
    model: Any = case.model
    layers, norm, _ = parts_of(model)
    tokens = embedded(case, x)
    n = tokens.shape[1]
    prefix = n - case.cells - case.padding
    heard = torch.cat([torch.ones(len(kept), prefix).bool(), kept], 1)  # but no padding
    heard = nn.functional.pad(heard, (0, case.padding))
    # Not -inf: in a frame that keeps nothing, a softmax of it alone would not be a number.
    mask = torch.where(heard, 0.0, -1e30).to(tokens)[:, None, None].expand(-1, 1, n, -1)
    options: dict[str, Any] = {"attn_mask" if case.is_timm else "attention_mask": mask}
    ropes = [{}] * len(layers)
    if case.is_eva:
        _, angles = model._pos_embed(model.patch_embed(x["pixel_values"]))
        ropes = [{"rope": angles[i] if model.rope_mixed else angles} for i in range(len(layers))]
    if hasattr(model, "rope_embeddings"):
        options["position_embeddings"] = model.rope_embeddings(x["pixel_values"])
    if (
        "attention_mask" in options
        and "attention_mask" not in inspect.signature(layers[0].forward).parameters
    ):  # InternVL, and DINOv2 before transformers 5.18
        mask = options.pop("attention_mask")
    with attention_under(mask):
        for layer, rope in zip(layers, ropes, strict=True):
            tokens = layer(tokens, **options, **rope)
    return norm(tokens)


@contextmanager
def attention_under(mask: Tensor) -> Iterator[None]:
    """Layers that take no mask, or pass none on, have one all the same."""
    own = nn.functional.scaled_dot_product_attention

    def masked_attention(*given: Any, attn_mask: Tensor | None = None, **named: Any) -> Tensor:
        return own(*given, attn_mask=mask if attn_mask is None else attn_mask, **named)

    with patch.object(nn.functional, "scaled_dot_product_attention", masked_attention):
        yield


def output_of(out: Any) -> dict[str, Tensor]:
    """The tensors of an output, by name."""
    if isinstance(out, Tensor):
        return {"output": out}
    return {name: out[name] for name in ("last_hidden_state", "pooler_output") if name in out}


def gated(model: nn.Module, **settings: Any) -> Any:
    return patchgate.gated(model, **{"mean": MEAN, "std": STD, **settings})
