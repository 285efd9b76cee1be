"""Tiny Qwen vision towers for tests, their own call on kept cells, and ours without a gate.

Letters: T tubelets, h w cells, N = h * w, m merge side, K kept cells, R = K * m * m patches.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from patchgate.encoders.families.qwen import Qwen25Vision, QwenVision
from patchgate.encoders.families.qwen3 import Qwen3Vision

transformers = pytest.importorskip("transformers")
vision_utils = pytest.importorskip("transformers.vision_utils")

P, M = 4, 2
GRID = (3, 5)  # cells: no square, and windows of 2 x 2 that do not divide it
WIDTH = 3 * 2 * P * P
FAMILIES = {"qwen25": Qwen25Vision, "qwen3": Qwen3Vision}
_SHARED = {
    "hidden_size": 32,
    "intermediate_size": 44,
    "num_heads": 4,
    "patch_size": P,
    "spatial_merge_size": M,
    "temporal_patch_size": 2,
    "out_hidden_size": 24,
}
_OWN = {
    "qwen25": {"depth": 4, "window_size": 2 * M * P, "fullatt_block_indexes": [1, 3]},
    "qwen3": {"depth": 4, "num_position_embeddings": 49, "deepstack_visual_indexes": [0, 2]},
}


def randomise(model: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Random weights, biases and norms included, so that none of them can be skipped."""
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=random) * 0.3
            norm = any(part in name for part in ("norm", "ln_q")) and "weight" in name
            parameter.copy_(noise + float(norm))
    return model.to(dtype).eval()


def vision_config(family: str, **changes: Any) -> Any:
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
    from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLVisionConfig

    config = Qwen2_5_VLVisionConfig if family == "qwen25" else Qwen3VLVisionConfig
    return config(**{**_SHARED, **_OWN[family], **changes})


def tower(family: str, dtype: torch.dtype = torch.float64, **changes: Any) -> nn.Module:
    from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl
    from transformers.models.qwen3_vl import modeling_qwen3_vl

    config = vision_config(family, **changes)
    if family == "qwen25":
        model = modeling_qwen2_5_vl.Qwen2_5_VisionTransformerPretrainedModel(config)
    else:
        model = modeling_qwen3_vl.Qwen3VLVisionModel(config)
    return randomise(model, dtype)


def patches(t: int, grid: tuple[int, int] = GRID, seed: int = 0) -> Tensor:
    """Pixel values as the processor lays them out, ``[T * N * m * m, C * f * P * P]``."""
    random = torch.Generator().manual_seed(seed)
    rows = t * grid[0] * grid[1] * M * M
    return torch.randn(rows, WIDTH, generator=random, dtype=torch.float64)


def grid_thw(*tubelets: int, grid: tuple[int, int] = GRID) -> Tensor:
    return torch.tensor([[t, grid[0] * M, grid[1] * M] for t in tubelets])


def own_call(model: Any, rows: Tensor, thw: Tensor, kept: Tensor) -> Any:
    """The tower's own call on the patches of kept cells, told where they are.

    Args:
        rows: of all patches. kept: ``[T, N]`` bool.
    """
    token = kept.flatten().repeat_interleave(M * M)
    frame = kept.sum(1) * M * M
    tensors = {
        "position_ids": vision_utils.get_vision_position_ids(thw, M)[token],
        "cu_seqlens": _ends(frame),
    }
    if hasattr(model, "pos_embed"):
        index, weight = vision_utils.get_vision_interpolation_indices_and_weights(
            thw, model.num_grid_per_side, "bilinear", True, M
        )
        tensors |= {"interp_indices": index[token], "interp_weights": weight[token]}
    else:
        order, ends = vision_utils.get_vision_window_index(thw, M, model.window_size, P)
        window = torch.zeros(len(order), dtype=torch.int64)
        window[order] = torch.arange(len(ends) - 1).repeat_interleave(ends.diff() // (M * M))
        window = window[kept.flatten()]  # [K]
        tensors["window_index"] = window.argsort(stable=True)
        tensors["cu_window_seqlens"] = _ends(window.bincount() * M * M)
    return model(rows[token], grid_thw=thw, **tensors)


def _ends(lengths: Tensor) -> Tensor:
    ends = lengths[lengths > 0].cumsum(0)
    return torch.cat([ends.new_zeros(1), ends]).int()


def encode(family: QwenVision, rows: Tensor, cell: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Kept cells through an opened tower under a block mask, each frame for itself.

    Args:
        rows: ``[R, ..]``. cell: ``[K]``. kept: ``[T]``, cells of each frame.

    Returns:
        Features ``[K, E]`` and last hidden states ``[R, D]``.
    """
    each = family.tokens_per_cell
    position = (cell[:, None] * each + cell.new_tensor(range(each))).flatten()  # [R]
    frame = (torch.ones_like(kept).cumsum(0) - 1).repeat_interleave(kept * each)  # [R]
    x, taps = family.embed(rows, position), []
    for layer in range(family.depth):
        window = family.windows(layer)
        group = frame * family.cells + (0 if window is None else window[position])
        query, key, value = (part.transpose(0, 1) for part in family.qkv(layer, x, position))
        out = nn.functional.scaled_dot_product_attention(
            query, key, value, group[:, None] == group, scale=family.scale(layer)
        )
        x = family.finish(layer, x, out.transpose(0, 1))
        taps += [family.tap(layer, x)] if layer in family.tapped else []
    return torch.cat([family.leave(x), *taps], 1), x
