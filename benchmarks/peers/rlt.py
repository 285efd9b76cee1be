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
    first, last = frames[::tubelet], frames[tubelet - 1 :: tubelet]
    difference = (last[1:] - first[:-1]).abs().mean(1, keepdim=True)  # [T - 1, 1, H, W]
    changed = avg_pool2d(difference, patch)[:, 0] > threshold  # [T - 1, h, w]
    return torch.cat([torch.ones_like(changed[:1]), changed])


def choose(frames: Tensor, patch: int, threshold: float = TAU) -> Choice:
    """The same, a few frames at a time, of uint8 RGB or normalised floats ``[T, 3, H, W]``.

    A dropped patch is part of the run of the one that was kept last: its length is encoded there.
    """

    def changed(some: Tensor) -> Tensor:
        return keep_mask(normalised(some), patch, threshold)[1:].float()

    return Choice.of(by_pairs(frames, changed) > 0)
