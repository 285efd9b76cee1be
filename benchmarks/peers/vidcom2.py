"""Video Compression Commander (Liu et al., EMNLP 2025, arXiv 2505.14454), as released.

Tokens that are like the mean of their frame and of the video are pruned; a frame that stands out
from the video gets more of the budget.

Letters: T frames, N tokens of a frame, D features.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from peers.choice import Choice

SHARE = 0.25
_CHANNELS = 0.5  # of the features, those of least variance
_WIDTHS = tuple(2.0**k for k in range(-3, 2))  # of the Gaussian kernels
_TEMPERATURE = 0.01


def likenesses(features: Tensor) -> tuple[Tensor, Tensor]:
    """Similarity of tokens ``[T, N, D]`` to the mean of the video, and to that of their frame,
    ``[T, N]``.
    """
    width = features.shape[2]
    variance = features.flatten(0, 1).var(0, unbiased=False)  # [D]
    quiet = variance.topk(int(width * _CHANNELS), largest=False).indices
    tokens = normalize(features[..., quiet], dim=-1)  # [T, N, D / 2]
    of_video = _likeness(tokens, tokens.mean((0, 1), keepdim=True))  # [T, N]
    return of_video, _likeness(tokens, tokens.mean(1, keepdim=True))


def choose(alike: tuple[Tensor, Tensor], share: float = SHARE) -> Choice:
    """The least typical tokens of every frame, by ``likenesses``; about ``share`` of all."""
    of_video, of_frame = alike  # [T, N] each
    cells = of_video.shape[1]
    counts = (frame_shares(of_video, share) * cells).round().clamp(1, cells)  # [T]
    rank = (
        (of_video + of_frame).argsort(dim=1, stable=True).argsort(dim=1)
    )  # [T, N]: 0 is least typical
    return Choice.of(rank < counts[:, None])


def frame_shares(of_video: Tensor, share: float) -> Tensor:
    """The share of each frame's tokens to keep, ``[T]``, from their likeness to the video."""
    outstanding = -of_video.mean(1)
    weight = ((outstanding - outstanding.max()) / _TEMPERATURE).softmax(0)
    return (share * (1 + weight - weight.mean())).clamp(max=1)


def _likeness(tokens: Tensor, centre: Tensor) -> Tensor:
    """A sum of Gaussian kernels of the distance, ``[T, N]``."""
    square = (tokens - centre).square().sum(-1)
    return torch.stack([(-square / (2 * width)).exp() for width in _WIDTHS]).sum(0)
