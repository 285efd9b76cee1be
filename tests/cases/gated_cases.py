"""Tiny towers and clips for the tests of ``gated``, and the tower run another way.

Letters: T frames, N cells of a frame, K kept patches, P patch side, D features.
"""

from typing import Any

import pytest
import torch
from gate_videos import pan, texture
from torch import Tensor, nn

transformers = pytest.importorskip("transformers")

SIDE, P = 32, 8
N = (SIDE // P) ** 2
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)  # three numbers: channels cannot be swapped
FAMILIES = ("siglip", "clip")


def tower(family: str, dtype: torch.dtype = torch.float64, **changes: Any) -> nn.Module:
    """A tower of random weights, biases and norms included, so that none of them can be skipped."""
    settings = {
        "hidden_size": 24,
        "intermediate_size": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 3,
        "image_size": SIDE,
        "patch_size": P,
        **changes,
    }
    if family == "siglip":
        model = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**settings))
    else:
        model = transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**settings))
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=random) * 0.3
            parameter.copy_(noise + (1.0 if "norm" in name and "weight" in name else 0.0))
    return model.to(dtype).eval()


def normalised(rgb: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """As a processor does it: uint8 ``[T, 3, H, W]`` to pixel values."""
    mean, std = (torch.tensor(each, dtype=torch.float64)[:, None, None] for each in (MEAN, STD))
    return ((rgb.double() / 255 - mean) / std).to(dtype)


def noise(t: int, seed: int = 0) -> Tensor:
    """Frames with nothing in common, uint8 ``[T, 3, H, W]``."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (t, 3, SIDE, SIDE), generator=random, dtype=torch.uint8)


def flicker(t: int, seed: int = 0) -> Tensor:
    """A still picture of which up to three random cells are new in each frame, in some none."""
    random = torch.Generator().manual_seed(seed)
    frames = texture((SIDE, SIDE), seed, 3).expand(t, -1, -1, -1).clone()
    for i in range(1, t):
        count = int(torch.randint(0, 4, (1,), generator=random))
        for cell in torch.randperm(N, generator=random)[:count].tolist():
            y, x = cell // (SIDE // P) * P, cell % (SIDE // P) * P
            new = torch.randint(0, 256, (3, P, P), generator=random, dtype=torch.uint8)
            frames[i:, :, y : y + P, x : x + P] = new
    return frames


def camera(t: int, seed: int = 0) -> Tensor:
    """The camera pans slowly: cells move, and fractions of them."""
    return pan((SIDE, SIDE), t, (1, 3), seed, 3)


def rows_of(pixel_values: Tensor) -> Tensor:
    """Every patch, ``[T, N, 3 * P * P]``, by slicing."""
    steps = range(0, SIDE, P)
    patches = [pixel_values[:, :, y : y + P, x : x + P] for y in steps for x in steps]
    return torch.stack([patch.flatten(1) for patch in patches], 1)


def masked(model: Any, pixel_values: Tensor, kept: Tensor) -> tuple[Tensor, Tensor | None]:
    """The tower's own modules on all kept tokens as one picture, with a block mask.

    Args:
        kept: ``[T, N]`` bool.

    Returns:
        ``[K, D]`` last hidden states of the kept patches in order, and of CLS ``[F, D]``.
    """
    prefix = int(hasattr(model.embeddings, "class_embedding"))
    x = model.embeddings(pixel_values)  # [T, prefix + N, D]
    if prefix:
        x = model.pre_layrnorm(x)
        kept = torch.cat([kept.any(1, keepdim=True), kept], 1)
    frame, token = kept.nonzero().unbind(1)  # [R] each
    mask = torch.where(frame[:, None] == frame, 0.0, -torch.inf).to(x.dtype)  # [R, R]
    x = model.encoder(inputs_embeds=x[kept][None], attention_mask=mask[None, None])
    x = x.last_hidden_state[0]
    if not prefix:
        return model.post_layernorm(x), None
    return x[token > 0], x[token == 0]
