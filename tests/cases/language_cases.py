"""Tiny vision-language models of random weights, and prompts for them as their processors make
them. Letters: T tubelets, N cells of a frame, L ids of a prompt.
"""

from typing import Any

import torch
from gated_cases import tower as image_tower
from qwen_cases import randomise, vision_config
from torch import Tensor, nn

VOCABULARY = 160
BEGIN, END, PAD, IMAGE = 150, 151, 152, 153  # marks of vision, placeholders
TEXT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "max_position_embeddings": 4096,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
IDS = {
    "vision_start_token_id": BEGIN,
    "vision_end_token_id": END,
    "video_token_id": PAD,
    "image_token_id": IMAGE,
}


class Letters:
    """A tokenizer: every letter is a token."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [1] * add_special_tokens + [ord(letter) for letter in text]


def qwen(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A Qwen2.5-VL or Qwen3-VL model."""
    from transformers.models.qwen2_5_vl import configuration_qwen2_5_vl, modeling_qwen2_5_vl
    from transformers.models.qwen3_vl import configuration_qwen3_vl, modeling_qwen3_vl

    vision = vision_config(name).to_dict()
    text: dict[str, Any] = {**TEXT, "rope_parameters": ROPE}
    if name == "qwen25":
        config = configuration_qwen2_5_vl.Qwen2_5_VLConfig(
            vision_config=vision, text_config=text, **IDS
        )
        return randomise(modeling_qwen2_5_vl.Qwen2_5_VLForConditionalGeneration(config), dtype)
    config = configuration_qwen3_vl.Qwen3VLConfig(
        vision_config=vision, text_config={**text, "head_dim": 8}, **IDS
    )
    return randomise(modeling_qwen3_vl.Qwen3VLForConditionalGeneration(config), dtype)


def llava(dtype: torch.dtype = torch.float64) -> nn.Module:
    """A LLaVA-OneVision model over SigLIP, of 5 x 5 cells: pooling to 3 x 3 does not divide."""
    import transformers

    vision = image_tower("siglip", image_size=40, vision_use_head=False).config.to_dict()
    text = {**TEXT, "model_type": "qwen2"}
    config = transformers.LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        video_token_index=PAD,
        image_token_index=IMAGE,
        vision_feature_layer=-2,
    )
    return randomise(transformers.LlavaOnevisionForConditionalGeneration(config), dtype)


def qwen3_prompt(before: Tensor, after: Tensor, seconds: list[float], cells: int) -> Tensor:
    """As Qwen3-VL's processor writes a video, ``[1, L]``."""
    ids = before.tolist()
    for second in seconds:
        ids += Letters().encode(f"<{second:.1f} seconds>", add_special_tokens=False)
        ids += [BEGIN, *[PAD] * cells, END]
    return torch.tensor([ids + after.tolist()])
