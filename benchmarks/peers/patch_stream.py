"""The scorer of codec-patch-stream (mvp-ai-lab, GitHub, 2026): pixel motion on decoded frames.

Written from what is said of it; it has no licence, and none of its code was used. Letters: T
frames, H W pixels, h w patches.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from peers import top_k
from peers.choice import Choice

SHARE = 0.125  # of the patches (its default is 2048 of a clip's)
DOWN, LEAST_SIDE, RADIUS, PERCENTILE = 4, 32, 4, 0.95


def choose(energy: Tensor, share: float = SHARE) -> Choice:
    """The patches of highest energy of the whole clip, the first frame before all.

    Args:
        energy: ``[T, h, w]`` of ``scores``.
        share: of the patches that are kept.
    """
    tokens = max(energy[0].numel(), round(energy.numel() * share))
    return Choice.of(top_k.keep_mask(energy, tokens))


def scores(luma: Tensor, patch: int) -> Tensor:
    """The energy of each patch of ``[T, H, W]`` uint8, ``[T, h, w]``; the first frame has inf.

    Half of it is the length of every pixel's motion vector at a quarter of the size, half what the
    vector leaves, each over its own 95th percentile in the frame, at most 1.
    """
    height, width = luma.shape[1:]
    size = [max(LEAST_SIDE, side // DOWN) for side in (height, width)]
    small = interpolate(luma[:, None].float(), size=size, mode="area")[:, 0]  # [T, H', W']
    length, error = _search(small[1:], small[:-1])
    fused = (_levelled(length) + _levelled(error)) / 2  # [T - 1, H', W']
    full = interpolate(fused[:, None], size=(height, width), mode="bilinear", align_corners=False)
    energy = avg_pool2d(full, patch)[:, 0] * patch**2
    first = energy.new_full((1, height // patch, width // patch), torch.inf)
    return torch.cat([first, energy])


def _search(now: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Finds for every pixel ``[T, H', W']`` the best vector's length and error, the first of
    equals.
    """
    height, width = now.shape[1:]
    around = pad(before[:, None], [RADIUS] * 4, mode="replicate")[:, 0]
    error, length = torch.full_like(now, torch.inf), torch.zeros_like(now)
    for dy in range(-RADIUS, RADIUS + 1):
        for dx in range(-RADIUS, RADIUS + 1):
            top, left = RADIUS + dy, RADIUS + dx
            found = (now - around[:, top : top + height, left : left + width]).abs()
            length = torch.where(found < error, (dy**2 + dx**2) ** 0.5, length)
            error = torch.minimum(found, error)
    return length, error


def _levelled(maps: Tensor) -> Tensor:
    """``[T, H', W']`` over each frame's 95th percentile, at most 1."""
    if not len(maps):
        return maps
    top = maps.flatten(1).quantile(PERCENTILE, dim=1).clamp(min=1e-6)
    return (maps / top[:, None, None]).clamp(max=1)
