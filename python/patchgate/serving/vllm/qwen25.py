"""Qwen2.5-VL in vLLM with the gate before its tower."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.models import qwen2_5_vl
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing import PromptReplacement

from patchgate._tensors import as_given
from patchgate.serving.gating import GatedVideo, kept_cells
from patchgate.serving.positions import clock_places, even_places, qwen25_positions
from patchgate.serving.times import Beside, tubelet_times
from patchgate.serving.vllm.model import GatedModel
from patchgate.serving.vllm.processor import GatedDummies, GatedProcessing
from patchgate.serving.vllm.tower import VllmQwen25


class Dummies(GatedDummies, qwen2_5_vl.Qwen2_5_VLDummyInputsBuilder):
    """vLLM's own, but for the mark that keeps everything."""


class Processor(GatedProcessing, qwen2_5_vl.Qwen2_5_VLMultiModalProcessor):
    """vLLM's own, with kept cells only."""

    def _describe(self, data: Any, videos: Sequence[GatedVideo], beside: Sequence[Beside]) -> None:
        config = self.info.get_hf_config().vision_config
        rate, frames = float(getattr(config, "tokens_per_second", 1.0)), config.temporal_patch_size
        steps = as_given(data["second_per_grid_ts"]).flatten().tolist()
        places: list[int] = []
        for given, grid, step in zip(beside, data["video_grid_thw"], steps, strict=True):
            tubelets = int(grid[0])
            if given.pts_seconds is None:
                places += even_places(tubelets, step * rate)
                continue
            times = tubelet_times(given.pts_seconds, frames, tubelets)
            places += clock_places([each[0] for each in times], rate)
        data["video_places"] = torch.tensor(places, dtype=torch.int32, device="cpu")

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, Any], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        image, video = super()._get_prompt_updates(mm_items, hf_processor_mm_kwargs, out_mm_kwargs)

        def replacement(number: int) -> Any:
            item = out_mm_kwargs["video"][number]
            if "video_cells" not in item:
                return video.replacement(number)
            return video.target * int(kept_cells(item["video_cells"].data).sum())

        return [
            image,
            PromptReplacement(modality="video", target=video.target, replacement=replacement),
        ]


@MULTIMODAL_REGISTRY.register_processor(
    Processor, info=qwen2_5_vl.Qwen2_5_VLProcessingInfo, dummy_inputs=Dummies
)
class GatedQwen25VL(GatedModel, qwen2_5_vl.Qwen2_5_VLForConditionalGeneration):
    """vLLM's Qwen2.5-VL; if its configuration says so, its videos are gated."""

    family = VllmQwen25

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: Sequence[Any]
    ) -> tuple[Tensor, int]:
        if not self._is_gated(mm_features):
            return super().get_mrope_input_positions(input_tokens, mm_features)
        return qwen25_positions(input_tokens, self._shown(mm_features))
