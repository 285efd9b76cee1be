"""A tiny random tower in the place of the pretrained one, and rows as it would be measured."""

from typing import Any

import torch
from pretrained.ladder import DEFAULTS, DENSE, FEWER, OTHERS, RLT, SAMPLED
from pretrained.weights import PATCH, Pretrained
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model


def head(features: Tensor) -> Tensor:
    """A saliency map of the means of features ``[B, N, D]``."""
    side = int(features.shape[1] ** 0.5)
    return features.mean(2).unflatten(1, (side, side)).sigmoid()


def tiny() -> Pretrained:
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=56,
        patch_size=PATCH,
    )  # fmt: skip
    return Pretrained(Dinov2Model(config).eval().requires_grad_(False), head)  # type: ignore[arg-type]


def pixels(frames: int = 6, side: int = 56) -> Tensor:
    """A still picture before which one cell flickers, ``[T, 3, H, W]`` uint8."""
    random = torch.Generator().manual_seed(0)
    picture = torch.randint(60, 200, (3, side, side), generator=random, dtype=torch.uint8)
    rgb = picture.repeat(frames, 1, 1, 1)
    rgb[1::2, :, 14:28, 14:28] = 255 - rgb[1::2, :, 14:28, 14:28]
    return rgb


def row(family: str, method: str, work: float, error: float, **more: Any) -> dict[str, Any]:
    """Rows of a clip, with the same error everywhere."""
    names = ("every", "changed", "worst", "cls", "saliency")
    return {
        "clip": "a.mkv", "side": 224, "frames": 48, "family": family, "method": method,
        "work": work, "kept": work / 2, "time": work, **dict.fromkeys(names, error), **more,
    }  # fmt: skip


CLIPS = [
    row(DENSE, "dense", 1.0, 0.0),
    row(SAMPLED, "dense, every 2", 0.5, 0.02),
    row(SAMPLED, "dense, every 10", 0.1, 0.08),
    row("patchgate", DEFAULTS.name, 0.5, 0.03, time=0.7),  # 1.5 x sampling, little of it felt
    row("patchgate", "patchgate, tolerance=0.3", 0.125, 0.04, time=0.15),
    row(OTHERS, "patchgate, threshold=2", 0.9, 0.001, time=1.2),  # slower than dense
    row(FEWER, "patchgate, every 2", 0.25, 0.5),
    row("Eventful", "Eventful, 0.25", 0.25, 0.01),  # ours there: sqrt(0.03 * 0.04)
    row(RLT, "RLT, residual, 0.1", 0.25, 0.05, cls=None),
]
SCENES = [
    {"scene": "b over a", "side": 224, "frames": 48, "kept": 0.1, **each}
    for each in (
        {"family": DENSE, "method": "dense", "work": 1.0, "j": 0.8},
        {"family": "patchgate", "method": DEFAULTS.name, "work": 0.3, "j": 0.75},
        {"family": SAMPLED, "method": "dense, every 2", "work": 0.5, "j": 0.82},
    )
]
