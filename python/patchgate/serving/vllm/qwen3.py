"""Qwen3-VL in vLLM with the gate before its tower."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from vllm.model_executor.models import qwen3_vl
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing import PromptReplacement, PromptUpdateDetails

from patchgate.serving.gating import GatedVideo
from patchgate.serving.positions import qwen3_positions
from patchgate.serving.prompt import spoken_run
from patchgate.serving.times import Beside
from patchgate.serving.vllm.model import GatedModel
from patchgate.serving.vllm.processor import (
    GatedDummies,
    GatedProcessing,
    counts_of,
    spoken_times,
)
from patchgate.serving.vllm.tower import VllmQwen3


class Dummies(GatedDummies, qwen3_vl.Qwen3VLDummyInputsBuilder):
    """vLLM's own, but for the mark that keeps everything."""


class Processor(GatedProcessing, qwen3_vl.Qwen3VLMultiModalProcessor):
    """vLLM's own, with kept cells only. A frame without tokens is left out of the prompt."""

    def _tell_times(self, data: Any, beside: Sequence[Beside]) -> None:
        spoken_times(data, beside, self.info.get_video_processor().temporal_patch_size)

    def _delay(self, data: Any, number: int, seconds: float) -> None:
        times = data["timestamps"][number]
        data["timestamps"][number] = [round(each + seconds, 6) for each in times]

    def _describe(self, data: Any, videos: Sequence[GatedVideo], beside: Sequence[Beside]) -> None:
        words = [len(ids) for times in data["timestamps"] for ids in self._words(times)]
        data["video_words"] = torch.tensor(words, dtype=torch.int32, device="cpu")

    def _words(self, timestamps: Any) -> list[list[int]]:
        """Returns the ids of each time in words."""
        encode = self.info.get_tokenizer().encode
        times = timestamps.tolist() if isinstance(timestamps, Tensor) else timestamps
        return [encode(f"<{each:.1f} seconds>", add_special_tokens=False) for each in times]

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, Any], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        image, video = super()._get_prompt_updates(mm_items, hf_processor_mm_kwargs, out_mm_kwargs)

        def replacement(number: int) -> Any:
            item = out_mm_kwargs["video"][number]
            if "video_cells" not in item:
                return video.replacement(number)
            tubelets = int(item["video_grid_thw"].data[0])
            counts = counts_of(item["video_cells"].data, tubelets)
            return self._prompt(counts, self._words(item["timestamps"].data))

        return [
            image,
            PromptReplacement(modality="video", target=video.target, replacement=replacement),
        ]

    def _prompt(self, counts: Sequence[int], words: Sequence[Sequence[int]]) -> Any:
        config = self.info.get_hf_config()
        begin, end = config.vision_start_token_id, config.vision_end_token_id
        pad = config.video_token_id
        ids = spoken_run(counts, words, begin, pad, end).ids
        return PromptUpdateDetails.select_token_id(ids, pad)


@MULTIMODAL_REGISTRY.register_processor(
    Processor, info=qwen3_vl.Qwen3VLProcessingInfo, dummy_inputs=Dummies
)
class GatedQwen3VL(GatedModel, qwen3_vl.Qwen3VLForConditionalGeneration):
    """vLLM's Qwen3-VL; if its configuration says so, its videos are gated."""

    family = VllmQwen3

    def get_mrope_input_positions(
        self, input_tokens: list[int], mm_features: Sequence[Any]
    ) -> tuple[Tensor, int]:
        if not self._is_gated(mm_features):
            return super().get_mrope_input_positions(input_tokens, mm_features)
        begin = self.config.vision_start_token_id
        return qwen3_positions(input_tokens, self._shown(mm_features), begin)
