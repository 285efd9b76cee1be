"""The same requests answered by transformers with ``patchgate.language``: no vLLM, no plugin."""

from functools import cache
from typing import Any

import numpy as np
import torch
from asked import IMAGE, VIDEO, requests
from torch import Tensor

import patchgate
from patchgate.colour import rgb_to_ycbcr
from patchgate.tokens import VideoTokens, spans

_MEAN = _STD = (0.5, 0.5, 0.5)
MARKS = {"qwen3": 2, "qwen25": 1}  # vLLM, as transformers, keeps marks around Qwen3-VL's own marks


@cache
def parts(folder: str) -> tuple[Any, Any]:
    """A model in float32, and its processor."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoProcessor.from_pretrained(folder)


def tokens_of(family: str, folder: str, clip: Any, settings: dict[str, Any]) -> Any:
    """A clip's tokens: patchgate's gate, and its gated tower of transformers."""
    model, processor = parts(folder)
    frames, known = clip
    given = processor.video_processor(
        videos=[torch.from_numpy(frames).permute(0, 3, 1, 2)], do_sample_frames=False,
        return_tensors="pt",
    )  # fmt: skip
    rows, (t, height, width) = given["pixel_values_videos"], given["video_grid_thw"][0].tolist()
    tower = patchgate.gated(model.model.visual, mean=_MEAN, std=_STD, **settings)
    rules = {n: v for n, v in settings.items() if n not in ("context", "tolerance")}
    vision = model.config.vision_config
    gate = patchgate.Gate(patch=vision.patch_size, merge=2, temporal_patch=2, **rules)
    result = gate.push(rgb_to_ycbcr(torch.from_numpy(frames).permute(0, 3, 1, 2)))
    mask = result.kind == 2  # [T, h, w]
    assert mask.shape == (t, height // 2, width // 2)
    kept = rows.unflatten(0, (-1, 4))[mask.flatten()].flatten(0, 1)
    frame, cell = mask.nonzero().split([1, 2], 1)  # [K, 1], [K, 2]
    ends = torch.cat([torch.zeros(1, dtype=torch.int64), mask.flatten(1).sum(1).cumsum(0)])
    if settings.get("memory"):  # ``encode`` does not know which pictures return
        whole = tower(rows, grid_thw=given["video_grid_thw"])
        features = torch.cat([whole.pooler_output, *whole.deepstack_features], 1)[mask.flatten()]
    else:
        features = tower.encode(kept, cell, ends, result.source)
    pts = known.get("patchgate", {}).get("pts_seconds")
    step = 2 / known["fps"]
    begin = [each * step for each in range(t)] if pts is None else pts[::2]
    return VideoTokens(
        features=features,
        frame=frame[:, 0],
        cell=cell,
        span=spans(frame[:, 0], result.source),
        pts_seconds=torch.tensor(begin, dtype=torch.float64),
        duration_seconds=torch.full((t,), step, dtype=torch.float64),
        cu_seqlens=ends.int(),
        source=result.source,
        kind=result.kind,
        motion=result.motion,
        layout=None,
    )


def logprobs(
    family: str, folder: str, name: str, settings: dict[str, Any], answer: list[int]
) -> tuple[list[int], list[float], list[int]]:
    """What transformers makes of a request, given the answer that vLLM chose.

    Returns:
        The prompt's ids, the log-probabilities of the answer's ids, and the ids that transformers
        would have chosen instead of each.
    """
    request = requests(family)[name]
    prompt, media = request["prompt"], request["multi_modal_data"]
    return logprobs_of(family, folder, prompt, media, settings, answer)


@torch.no_grad()
def logprobs_of(
    family: str,
    folder: str,
    prompt: str,
    media: dict[str, Any],
    settings: dict[str, Any],
    answer: list[int],
) -> tuple[list[int], list[float], list[int]]:
    """Does what ``logprobs`` does, for a request of any kind."""
    model, _ = parts(folder)
    inputs = inputs_of(family, folder, prompt, media, settings)
    length = inputs["input_ids"].shape[1]
    logits = model(**_with(inputs, answer)).logits[0, length - 1 : -1].float()
    scores = logits.log_softmax(-1)
    chosen = scores.gather(1, torch.tensor(answer)[:, None])[:, 0]
    return inputs["input_ids"][0].tolist(), chosen.tolist(), scores.argmax(1).tolist()


@torch.no_grad()
def inputs_of(
    family: str, folder: str, prompt: str, media: dict[str, Any], settings: dict[str, Any]
) -> dict[str, Any]:
    """Makes the arguments of the model's call, as ``patchgate.language`` makes them."""
    model, processor = parts(folder)
    tokenizer, extra = processor.tokenizer, MARKS[family] - 1
    text = prompt.replace(VIDEO, "<|vision_start|>" * extra + VIDEO + "<|vision_end|>" * extra)
    ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False))
    clips = [tokens_of(family, folder, clip, settings) for clip in media.get("video", [])]
    images = None
    if IMAGE in text:
        images = dict(processor.image_processor(
            images=[np.asarray(each) for each in media["image"]], return_tensors="pt"
        ))  # fmt: skip
    if family == "qwen3":
        return patchgate.language.qwen3_vl_inputs(model, ids, clips, tokenizer, images=images)
    return patchgate.language.qwen25_vl_inputs(model, ids, clips, images=images)


def _with(inputs: dict[str, Any], answer: list[int]) -> dict[str, Any]:
    """The inputs with an answer behind the prompt."""
    ids: Tensor = inputs["input_ids"]
    places: Tensor = inputs["position_ids"]
    more = places[..., -1:] + 1 + torch.arange(len(answer))
    ids = torch.cat([ids, torch.tensor([answer])], 1)
    return {
        **inputs,
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "position_ids": torch.cat([places, more], -1),
    }
