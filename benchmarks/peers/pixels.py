"""What the peers that look at pixels share: normalised patches, a few frames at a time.

Letters: T frames, C channels, H W pixels, h w patches, D = C * P * P samples of a patch.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_CHUNK = 16  # frames at a time: floats are four times the video


def normalised(frames: Tensor) -> Tensor:
    """uint8 RGB ``[T, 3, H, W]`` as an encoder takes it; floats are taken to be that already."""
    if frames.dtype != torch.uint8:
        return frames
    mean, std = (torch.tensor(v, device=frames.device).view(3, 1, 1) * 255 for v in (MEAN, STD))
    return (frames.float() - mean) / std


def unit(frames: Tensor) -> Tensor:
    """uint8 as 0..1; floats are taken to be that already."""
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames


def patches(frame: Tensor, patch: int) -> Tensor:
    """``[C, H, W]`` as ``[h, w, D]``."""
    cut = frame.unfold(1, patch, patch).unfold(2, patch, patch)  # [C, h, w, P, P]
    return cut.permute(1, 2, 0, 3, 4).flatten(2)


def by_pairs(frames: Tensor, of: Callable[[Tensor], Tensor], first: float = torch.inf) -> Tensor:
    """``of`` turns n + 1 frames into n maps; the first frame's map is ``first``, ``[T, h, w]``."""

    def maps() -> Iterator[Tensor]:
        for start in range(0, len(frames) - 1, _CHUNK):
            yield of(frames[start : start + _CHUNK + 1])

    later = list(maps())
    shape = later[0].shape[1:] if later else of(frames[:1].repeat(2, 1, 1, 1)).shape[1:]
    return torch.cat([torch.full((1, *shape), first, device=frames.device), *later])
