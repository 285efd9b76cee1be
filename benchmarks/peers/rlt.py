"""Run-Length Tokenization's mask (Choudhury et al., "Don't Look Twice", NeurIPS 2024)."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d


def keep_mask(frames: Tensor, patch: int, threshold: float = 0.1) -> Tensor:
    """Patches that differ from the same place of the frame before by more than ``threshold``.

    Args:
        frames: ``[T, C, H, W]`` float, normalised as the encoder's input is.
        patch: side in pixels.
        threshold: of the mean absolute difference over the patch and its channels.

    Returns:
        ``[T, h, w]`` bool; the first frame is kept whole. (A tubelet of one frame.)
    """
    difference = (frames[1:] - frames[:-1]).abs().mean(1, keepdim=True)  # [T - 1, 1, H, W]
    changed = avg_pool2d(difference, patch)[:, 0] > threshold  # [T - 1, h, w]
    return torch.cat([torch.ones_like(changed[:1]), changed])
