"""The textbook gate: every patch against the same place of the frame before.

Its receiver keeps, at every place, the patch that was kept last. Here are the differences that it
holds against its threshold; one pass over the video serves a whole sweep.

Letters: T frames, C channels, H W pixels, h w patches.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from peers.pixels import MEAN as MEAN
from peers.pixels import STD, by_pairs


def mean_differences(rgb: Tensor, patch: int) -> Tensor:
    """Of patches of normalised RGB: what Run-Length Tokenization's rule compares with its tau.

    Args:
        rgb: ``[T, 3, H, W]`` uint8.
        patch: side in pixels.

    Returns:
        ``[T, h, w]`` float32; the first frame, which is always kept, has ``inf``.

    Source: Choudhury et al., "Don't Look Twice" (NeurIPS 2024), with tubelets of one frame.
    """
    std = torch.tensor(STD).view(3, 1, 1) * 255  # the mean cancels out

    def of(chunk: Tensor) -> Tensor:
        change = ((chunk[1:].float() - chunk[:-1].float()) / std).abs()
        return avg_pool2d(change.mean(1, keepdim=True), patch)[:, 0]

    return by_pairs(rgb, of)


def largest_differences(planes: Tensor, patch: int, parts: int) -> Tensor:
    """The same gate with the test of patchgate's zero vector: the worst sub-block of any plane.

    What is left between the two is what they compare with. No paper's rule: the strongest
    adjacent gate that we know how to build.

    Args:
        planes: ``[T, C, H, W]`` uint8.
        patch: side in pixels.
        parts: sub-blocks per side.

    Returns:
        ``[T, h, w]`` float32, mean grey levels of the worst sub-block; the first frame ``inf``.
    """

    def of(chunk: Tensor) -> Tensor:
        change = (chunk[1:].float() - chunk[:-1].float()).abs()
        return max_pool2d(avg_pool2d(change, patch // parts), parts).amax(1)

    return by_pairs(planes, of)
