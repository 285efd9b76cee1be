"""Tiny chat models of random weights with tokenizers and processors, made here.

Processors of videos need torchvision to be made by their own constructors. Without one, these are
the same classes with the same settings; only their own calls do not work.
"""

import functools
import importlib
import re
from pathlib import Path
from typing import Any
from unittest import mock

import clips
import numpy as np
import torch
from language_cases import ROPE, TEXT
from language_cases import qwen as plain_qwen
from PIL import Image
from qwen_cases import M, P, randomise, transformers, vision_config

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
           "<|image_pad|>", "<|video_pad|>", "<image>", "<video>"]  # fmt: skip
NAMES = ("qwen3", "qwen25", "llava")
MEAN, STD = [0.5, 0.4, 0.45], [0.5, 0.3, 0.35]
CELL = P * M
QWEN_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}"
    "{% if c.type == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif c.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ c.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As LLaVA-OneVision's: pictures first, and of a content that is a plain text nothing.
LLAVA_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }} "
    "{% for c in m.content | selectattr('type', 'equalto', 'image') %}<image>{% endfor %}"
    "{% for c in m.content | selectattr('type', 'equalto', 'video') %}<video>{% endfor %}"
    "{% for c in m.content | selectattr('type', 'equalto', 'text') %}\n{{ c.text }}{% endfor %}"
    "<|im_end|>{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@functools.cache
def tokenizer() -> Any:
    """Every byte is a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={each: i for i, each in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    found = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=SPECIAL[2], pad_token=SPECIAL[0]
    )
    found.add_tokens(SPECIAL, special_tokens=True)
    return found


def ids() -> dict[str, int]:
    return {name: tokenizer().convert_tokens_to_ids(name) for name in SPECIAL}


def model(name: str, dtype: torch.dtype = torch.float64) -> Any:
    known, text = ids(), {**TEXT, "vocab_size": len(tokenizer())}
    text |= {"eos_token_id": known["<|im_end|>"], "pad_token_id": known["<|endoftext|>"]}
    if name == "llava":
        vision = {"model_type": "siglip_vision_model", "hidden_size": 24, "intermediate_size": 40,
                  "num_hidden_layers": 3, "num_attention_heads": 3, "image_size": 40,
                  "patch_size": 8, "vision_use_head": False}  # fmt: skip
        config = transformers.LlavaOnevisionConfig(
            vision_config=vision, text_config={**text, "model_type": "qwen2"},
            video_token_index=known["<video>"], image_token_index=known["<image>"],
            vision_feature_layer=-2, image_grid_pinpoints=[[40, 40], [40, 80], [80, 40]],
        )  # fmt: skip
        return randomise(transformers.LlavaOnevisionForConditionalGeneration(config), dtype)
    like = type(plain_qwen(name))
    text["rope_parameters"] = ROPE
    marks = {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>",
             "video_token_id": "<|video_pad|>", "image_token_id": "<|image_pad|>"}  # fmt: skip
    config = like.config_class(
        vision_config=vision_config(name).to_dict(),
        text_config={**text, "head_dim": 8} if name == "qwen3" else text,
        **{attribute: known[mark] for attribute, mark in marks.items()},
    )
    return randomise(like(config), dtype)


def processor(name: str, **changes: Any) -> Any:
    """The model's own class of processor. ``changes``: settings of its video processor."""
    with mock.patch.object(transformers.ProcessorMixin, "check_argument_for_proper_class"):
        return _processor(name, changes)


def _processor(name: str, changes: dict[str, Any]) -> Any:
    numbers = {"image_mean": MEAN, "image_std": STD}
    if name == "llava":
        own = _module("llava_onevision", "image_processing_pil_llava_onevision")
        whole = _module("llava_onevision", "processing_llava_onevision")
        video = _module("llava_onevision", "video_processing_llava_onevision")
        square, points = {"height": 40, "width": 40}, [[40, 40], [40, 80], [80, 40]]
        return whole.LlavaOnevisionProcessor(
            own.LlavaOnevisionImageProcessorPil(
                size=square, image_grid_pinpoints=points, **numbers
            ),
            tokenizer(),
            video.LlavaOnevisionVideoProcessor(**{"size": square, **numbers, **changes}),
            num_image_tokens=25, vision_feature_select_strategy="full",
            chat_template=LLAVA_TEMPLATE,
        )  # fmt: skip
    images = _module("qwen2_vl", "image_processing_pil_qwen2_vl")
    sides = {"patch_size": P, "merge_size": M, "temporal_patch_size": 2}
    whole_video = {"shortest_edge": 2 * CELL**2, "longest_edge": 48 * 64 * 24}
    frame = {"shortest_edge": CELL**2, "longest_edge": 48 * 64}
    image = images.Qwen2VLImageProcessorPil(size=frame, **sides, **numbers)
    if name == "qwen3":
        three = _module("qwen3_vl", "processing_qwen3_vl")
        video3 = _module("qwen3_vl", "video_processing_qwen3_vl")
        settings = {"size": whole_video, **sides, **numbers, **changes}
        made = video3.Qwen3VLVideoProcessor(**settings)
        return three.Qwen3VLProcessor(image, tokenizer(), made, chat_template=QWEN_TEMPLATE)
    two = _module("qwen2_5_vl", "processing_qwen2_5_vl")
    settings = {"size": frame, **sides, **numbers, **changes}
    made = _qwen2_video_processor()(**settings)
    return two.Qwen2_5_VLProcessor(image, tokenizer(), made, chat_template=QWEN_TEMPLATE)


def _qwen2_video_processor() -> Any:
    try:
        return _module("qwen2_vl", "video_processing_qwen2_vl").Qwen2VLVideoProcessor
    except (ImportError, RuntimeError):  # it imports torchvision
        three = _module("qwen3_vl", "video_processing_qwen3_vl").Qwen3VLVideoProcessor
        return type("Qwen2VLVideoProcessor", (three,), {"do_sample_frames": False})


def _module(family: str, name: str) -> Any:
    """A module itself: a name that is taken from a package of transformers asks for torchvision."""
    return importlib.import_module(f"transformers.models.{family}.{name}")


def save(name: str, folder: Path) -> Path:
    """A model with its processor, as ``from_pretrained`` loads them."""
    model(name, torch.float32).save_pretrained(folder)
    processor(name).save_pretrained(folder)
    return folder


def photo(folder: Path, name: str = "photo.png", size: tuple[int, int] = (40, 24)) -> str:
    """A picture of noise, ``size`` (width, height)."""
    width, height = size
    noise = np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / name)
    return str(folder / name)


def say(*parts: Any, role: str = "user") -> dict[str, Any]:
    """A message: texts, and parts as dicts."""
    content = [{"type": "text", "text": each} if isinstance(each, str) else each for each in parts]
    return {"role": role, "content": content}


def video(source: Any, **settings: Any) -> dict[str, Any]:
    return {"type": "video", "video": source, **settings}


def image(source: Any, **settings: Any) -> dict[str, Any]:
    return {"type": "image", "image": source, **settings}


@functools.cache
def shared(name: str) -> tuple[Any, Any]:
    """A model that no test changes, and its processor."""
    return model(name), processor(name)


def path(name: str = "h264.mp4") -> str:
    return str(clips.clip(name))  # 40 frames of 64 x 48, 25 a second


def made(name: str, *parts: Any, **options: Any) -> Any:
    """What prepare() makes of one message."""
    from patchgate.language import prepare

    return prepare(*shared(name), [say(*parts)], **options)


def shown(name: str, inputs: Any) -> torch.Tensor:
    """The tokens of videos of each prompt, ``[B]``."""
    return (inputs.input_ids == shared(name)[0].config.video_token_id).sum(1)


def told(inputs: Any) -> list[float]:
    """The times that a prompt of Qwen3-VL says."""
    text = tokenizer().decode(inputs.input_ids[0])
    return [float(each) for each in re.findall(r"<([\d.]+) seconds>", text)]


def noise(count: int = 8, size: tuple[int, int] = (48, 64), seed: int = 0) -> torch.Tensor:
    """Frames with nothing in common, uint8 ``[T, 3, H, W]``."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, *size), generator=random, dtype=torch.uint8)
