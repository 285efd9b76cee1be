"""Run-Length Tokenization's mask (Choudhury et al., "Don't Look Twice", NeurIPS 2024)."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from peers.choice import Choice
from peers.pixels import by_pairs, normalised

TAU = 0.1


def keep_mask(frames: Tensor, patch: int, threshold: float = TAU, tubelet: int = 1) -> Tensor:
    """Patches that differ from the same place of the tubelet before by more than ``threshold``.

    Args:
        frames: ``[T * f, C, H, W]`` float, normalised as the encoder's input is.
        patch: side in pixels.
        threshold: of the mean absolute difference over the patch and its channels.
        tubelet: f, frames that a token spans: a tubelet's last frame is compared with the first
            frame of the tubelet before (section 3.1).

    Returns:
        ``[T, h, w]`` bool; the first tubelet is kept whole.
    """
    changed = _between(frames, patch, tubelet) > threshold  # [T - 1, h, w]
    return torch.cat([torch.ones_like(changed[:1]), changed])


def differences(frames: Tensor, patch: int) -> Tensor:
    """What is held against the threshold, ``[T, h, w]``; the first frame has inf.

    A few frames at a time, of uint8 RGB or normalised floats ``[T, 3, H, W]``.
    """
    return by_pairs(frames, lambda some: _between(normalised(some), patch))


def choose(found: Tensor, threshold: float = TAU) -> Choice:
    """By ``differences``: one of them serves every threshold.

    A dropped patch is part of the run of the one that was kept last: its length is encoded there.
    """
    return Choice.of(found > threshold)


def _between(frames: Tensor, patch: int, tubelet: int = 1) -> Tensor:
    """Mean absolute differences of patches from tubelet to tubelet, ``[T - 1, h, w]``."""
    first, last = frames[::tubelet], frames[tubelet - 1 :: tubelet]
    difference = (last[1:] - first[:-1]).abs().mean(1, keepdim=True)  # [T - 1, 1, H, W]
    return avg_pool2d(difference, patch)[:, 0]
