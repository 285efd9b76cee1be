"""Joins the prompts of a batch. Letters: B prompts, L ids of the longest one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def joined(prompts: Sequence[dict[str, Any]], pad: int) -> dict[str, Any]:
    """Joins the arguments of a model's call for several prompts, as ``generate`` takes them.

    Args:
        prompts: what ``qwen3_vl_inputs`` or another of these functions returns, of one prompt each.
        pad: the id that fills up shorter prompts, before their first id.

    Returns:
        ``input_ids`` and ``attention_mask`` ``[B, L]``, ``position_ids`` ``[.., B, L]`` and
        ``mm_encoder_outputs`` of all prompts.
    """
    longest = max(prompt["input_ids"].shape[1] for prompt in prompts)

    def column(name: str, fill: int, batch: int) -> Tensor:
        rows = [
            functional.pad(prompt[name], (longest - prompt[name].shape[-1], 0), value=fill)
            for prompt in prompts
        ]
        return torch.cat(rows, batch)

    outputs = [prompt["mm_encoder_outputs"] for prompt in prompts]
    kinds = dict.fromkeys(kind for each in outputs for kind in each)
    return {
        "input_ids": column("input_ids", pad, 0),
        "attention_mask": column("attention_mask", 0, 0),
        "position_ids": column("position_ids", 0, -2),
        "mm_encoder_outputs": {
            kind: _encoded([each[kind] for each in outputs if kind in each]) for kind in kinds
        },
    }


def _encoded(outputs: Sequence[Any]) -> Any:
    """Joins outputs of a tower: features of one video or image after the other."""
    if len(outputs) == 1:
        return outputs[0]
    first = outputs[0]
    parts: dict[str, Any] = {"pooler_output": _chained([each.pooler_output for each in outputs])}
    if getattr(first, "deepstack_features", None) is not None:
        layers = zip(*(each.deepstack_features for each in outputs), strict=True)
        parts["deepstack_features"] = [_chained(layer) for layer in layers]
    return type(first)(**parts)


def _chained(features: Sequence[Any]) -> Any:
    """Joins tuples or lists of tensors, or tensors ``[1, tokens, E]``."""
    if isinstance(features[0], Tensor):
        return torch.cat(list(features), 1)
    return tuple(tensor for each in features for tensor in each)
