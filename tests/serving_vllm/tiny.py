"""Writes tiny models with a byte-level tokenizer and a processor: nothing is fetched."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
]  # fmt: skip
_MEDIA = "<|vision_start|><|{kind}_pad|><|vision_end|>"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{m.role}}\n"
    "{% if m.content is string %}{{m.content}}{% else %}{% for c in m.content %}"
    "{% if c.type=='video' %}" + _MEDIA.format(kind="video") + "{% elif c.type=='image' %}"
    "" + _MEDIA.format(kind="image") + "{% else %}{{c.text}}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
# The same for images and videos: vLLM normalises both with the image processor's.
_NORMAL = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


def write(family: str, folder: Path, **vision: Any) -> Path:
    """Writes a model of a family (``"qwen3"`` or ``"qwen25"``) into a folder."""
    tokenizer = _tokenizer()
    ids = {each: tokenizer.convert_tokens_to_ids(each) for each in SPECIAL}
    config = _config(family, ids, vision)
    kind = Qwen3VLForConditionalGeneration if family == "qwen3" else (
        Qwen2_5_VLForConditionalGeneration
    )  # fmt: skip
    torch.manual_seed(0)
    randomise(kind(config)).save_pretrained(folder)
    _processor(family, config.vision_config, tokenizer).save_pretrained(folder)
    return folder


def randomise(model: Any) -> Any:
    with torch.no_grad():
        for name, parameter in model.float().eval().named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.08)
            elif ("norm" in name or "ln_q" in name) and name.endswith("weight"):
                parameter.fill_(1.0)
            else:
                parameter.normal_(0, 0.02)
    return model


def _tokenizer() -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    own = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=own, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _config(family: str, ids: dict[str, int], changes: dict[str, Any]) -> Any:
    shared: dict[str, Any] = {
        "depth": 4, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 128,
    }  # fmt: skip
    text: dict[str, Any] = {
        "vocab_size": 320, "hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 4,
        "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 8192,
        "eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"],
        "bos_token_id": None,
    }  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [12, 10, 10]}
    tokens = {
        f"{name}_token_id": ids[f"<|{mark}|>"]
        for name, mark in {
            "image": "image_pad", "video": "video_pad",
            "vision_start": "vision_start", "vision_end": "vision_end",
        }.items()
    }  # fmt: skip
    if family == "qwen3":
        own = {"patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [1, 2]}
        text |= {"head_dim": 64, "rope_parameters": {**rope, "mrope_interleaved": True}}
        kind: Any = Qwen3VLConfig
    else:
        own = {
            "patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1, 3],
            "tokens_per_second": 2,
        }  # fmt: skip
        text |= {"rope_parameters": rope}
        kind = Qwen2_5_VLConfig
    vision = {**shared, **own, **changes}
    return kind(vision_config=vision, text_config=text, tie_word_embeddings=False, **tokens)


def _processor(family: str, vision: Any, tokenizer: Any) -> Any:
    cell = vision.patch_size * vision.spatial_merge_size
    sides = {
        "patch_size": vision.patch_size, "merge_size": vision.spatial_merge_size,
        "temporal_patch_size": vision.temporal_patch_size,
    }  # fmt: skip
    least, most = cell**2, 256**2  # pixels; vLLM measures its memory with the largest
    images = Qwen2VLImageProcessor(
        **sides, **_NORMAL, size={"shortest_edge": least, "longest_edge": most}
    )
    parts = {"image_processor": images, "tokenizer": tokenizer, "chat_template": TEMPLATE}
    if family == "qwen3":
        frames = {"shortest_edge": 2 * least, "longest_edge": 32 * most}
        videos: Any = Qwen3VLVideoProcessor(
            **sides, **_NORMAL, size=frames, min_frames=2, max_frames=768
        )
        return Qwen3VLProcessor(video_processor=videos, **parts)
    videos = Qwen2VLVideoProcessor(
        **sides, **_NORMAL, size={"shortest_edge": least, "longest_edge": most},
        do_sample_frames=False,
    )  # fmt: skip
    return Qwen2_5_VLProcessor(video_processor=videos, **parts)


if __name__ == "__main__":
    import sys

    print(json.dumps(str(write(sys.argv[1], Path(sys.argv[2])))))
