"""Video tokens made by hand, of any features.

Letters: T frames, h w cells, K tokens, D features.
"""

import torch
from torch import Tensor

from patchgate.tokens import VideoTokens, cu_seqlens, spans


def kept_mask(t: int, grid: tuple[int, int], seed: int = 0) -> Tensor:
    """``[T, h, w]`` bool: the first frame whole, then a third of the cells, of one frame none."""
    random = torch.Generator().manual_seed(seed)
    mask = torch.rand(t, *grid, generator=random) < 1 / 3
    mask[0] = True
    mask[t // 2 : t // 2 + 1] = t < 2
    return mask


def video_tokens(kept: Tensor, features: Tensor, fps: float, start: float = 0.0) -> VideoTokens:
    """Still cells show the token that was kept there last.

    Args:
        kept: ``[T, h, w]`` bool, the first frame whole. features: ``[K, D]``.
        fps: frames (or tubelets) a second. start: seconds.
    """
    frame, row, column = kept.nonzero().unbind(1)
    token = torch.full(kept.shape, -1)
    token[kept] = torch.arange(len(frame))
    source = token.cummax(0).values
    kind = kept.byte() * 2
    t = len(kept)
    return VideoTokens(
        features=features,
        frame=frame,
        cell=torch.stack([row, column], 1),
        span=spans(frame, source),
        pts_seconds=start + torch.arange(t, dtype=torch.float64) / fps,
        duration_seconds=torch.full((t,), 1 / fps, dtype=torch.float64),
        cu_seqlens=cu_seqlens(kind),
        source=source,
        kind=kind,
        motion=torch.zeros((*kept.shape, 2), dtype=torch.int8),
        layout=None,
    )
