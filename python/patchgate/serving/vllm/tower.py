"""The families of gated towers over vLLM's own modules, whose linear layers may return pairs.

They compute what vLLM's towers compute, on kept cells. vLLM's quantisation and adapters of linear
layers have their effect: the layers are called, their weights are not read.

Letters: N cells of a frame, m merge side, R packed rows, H heads, d features of a head, D features,
E features of a cell, C channels, f frames of a tubelet, P patch side.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from vllm.model_executor.models.utils import cast_overflow_tensors

from patchgate.encoders.families.qwen import Qwen25Vision, QwenVision
from patchgate.encoders.families.qwen3 import Qwen3Vision
from patchgate.encoders.tower import Tower


def alone(output: Any) -> Tensor:
    """Returns a linear layer's output without the bias that vLLM may hand back with it."""
    return output[0] if isinstance(output, tuple) else output


class OverVllm(QwenVision):
    """What both families share."""

    called = ()  # vLLM's own wrappers are part of its modules
    _sizes: dict[tuple[int, int], Self]

    def __init__(self, model: nn.Module) -> None:
        Tower.__init__(self, model)
        self._grid = None
        self._sizes = {}

    @property
    def patch(self) -> int:
        return int(self.model.patch_embed.patch_size)

    @property
    def merge(self) -> int:
        return int(self.model.spatial_merge_size)

    @property
    def temporal_patch(self) -> int:
        return int(self.model.patch_embed.temporal_patch_size)

    @property
    def width(self) -> int:
        return int(self.model.out_hidden_size)  # of Qwen3-VL with that of the tapped layers

    @property
    def weight(self) -> Tensor:
        weight: Tensor = self.model.patch_embed.proj.weight
        return weight

    def sized(self, height: int, width: int) -> Self:
        """Returns the tower for one size; those of the last sizes are remembered."""
        known = self._sizes.pop((height, width), None)
        if known is None:
            known = super().sized(height, width)
            if len(self._sizes) >= 16:
                del self._sizes[next(iter(self._sizes))]  # the one that was asked for longest ago
        self._sizes[height, width] = known
        return known

    def normalised(self, rows: Tensor) -> Tensor:
        """Returns rows of bytes, or rows that the processor has normalised, as the tower's input.

        ``[R, C * f * P * P]`` of the tower's dtype, on its device.
        """
        model = self.model
        return model.input_norm(rows.to(device=model.device, non_blocking=True), model.dtype)

    def embedded(self, rows: Tensor) -> Tensor:
        return self.model.patch_embed(rows)

    def joint(self, layer: int, x: Tensor) -> Tensor:
        block = self.model.blocks[layer]
        return alone(block.attn.qkv(block.norm1(x)))

    def heads(self, layer: int) -> int:
        return int(self.model.blocks[layer].attn.num_attention_heads_per_partition)

    def scale(self, layer: int) -> float:
        return float(self.model.blocks[layer].attn.hidden_size_per_attention_head) ** -0.5

    def added(self, layer: int, attended: Tensor) -> Tensor:
        return alone(self.model.blocks[layer].attn.proj(attended.flatten(1)))

    def check_mode(self) -> None:
        """vLLM only serves."""

    def check_calls(self) -> bool:
        return True


class VllmQwen3(OverVllm, Qwen3Vision):
    """vLLM's tower of Qwen3-VL."""

    names = ("Qwen3_VisionTransformer",)
    _learned: Tensor  # [N * m * m, D]

    def _interpolation(self) -> Any:
        """Lets vLLM resample its learned positions, and keeps them."""
        self._learned = self.model.fast_pos_embed_interpolate([self._one_frame()])

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        return self.embedded(rows) + self._learned[cell]

    def _angles(self) -> tuple[Tensor, Tensor]:
        cos, sin = self.model.rot_pos_emb([self._one_frame()])  # [N * m * m, d / 2] each
        return cos.float().repeat(1, 2), sin.float().repeat(1, 2)

    def _one_frame(self) -> list[int]:
        return [1, self.grid.h * self.merge, self.grid.w * self.merge]


class VllmQwen25(OverVllm, Qwen25Vision):
    """vLLM's tower of Qwen2.5-VL."""

    names = ("Qwen2_5_VisionTransformer",)

    def _angles(self) -> tuple[Tensor, Tensor]:
        side = self.merge
        cos, sin = self.model.rotary_pos_emb_thw(1, self.grid.h * side, self.grid.w * side)
        return cos.flatten(0, 1).float().repeat(1, 2), sin.flatten(0, 1).float().repeat(1, 2)

    def leave(self, rows: Tensor) -> Tensor:
        if rows.dtype == torch.float16:  # as in vLLM: the last block may overflow
            rows = cast_overflow_tensors(rows)
        return super().leave(rows)
