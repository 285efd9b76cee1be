"""The textbook gate with patchgate's own test, so that only what they compare with is different.

Its receiver keeps, at every place, the patch that was kept last. ``rlt.differences`` is the same
gate with the test of Run-Length Tokenization.

Letters: T frames, C channels, H W pixels, h w patches.
"""

from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from peers.pixels import by_pairs


def largest_differences(planes: Tensor, patch: int, parts: int) -> Tensor:
    """The worst sub-block of any plane of every patch, against the same place of the frame before.

    This is no paper's rule. It is the strongest adjacent gate that we know how to build.

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
