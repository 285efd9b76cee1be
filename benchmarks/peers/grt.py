"""Gated Residual Tokenization as its authors released it: the gate and the scene merge.

Zhang et al., "Dense Video Understanding with Gated Residual Tokenization", arXiv 2509.14199.
Letters: T frames, C channels, H W pixels, h w patches, N = h * w, D features, V words.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from peers.choice import Choice
from peers.pixels import normalised, patches

Measure = Literal["ssim", "l2"]
TAU: dict[Measure, float] = {"ssim": 0.01, "l2": 0.3}
KEY_SHARE = 0.8  # of the patches changed: a key frame
SAME_SCENE = 0.4  # Jensen-Shannon divergence, in nats
LEAST_PACKED, PACKED_SHARE = 16, 0.5  # patches of a frame


class Gated(NamedTuple):
    """What the gate says."""

    keep: Tensor  # [T, h, w] bool
    score: Tensor  # [T, h, w] float32: how much a patch differs from its reference; first frame inf


def gate(
    frames: Tensor, patch: int, threshold: float, measure: Measure, anchored: bool = True
) -> Gated:
    """Every patch against a cache of patches; one that differs replaces its reference.

    The loop over frames is the method (a patch is compared with the last one that was kept);
    within a frame all patches are compared at once.

    Args:
        frames: ``[T, 3, H, W]`` normalised floats, or uint8 RGB.
        patch: side in pixels.
        threshold: of 1 - SSIM over the whole patch, or of the Euclidean distance.
        measure: which of the two.
        anchored: False: the reference is always the frame before.
    """
    differ = _dissimilarity if measure == "ssim" else _distance
    reference = patches(normalised(frames[:1])[0], patch)  # [h, w, 3 * P * P]
    scores = [torch.full(reference.shape[:2], torch.inf, device=frames.device)]
    for frame in frames[1:]:
        now = patches(normalised(frame[None])[0], patch)
        scores.append(differ(now, reference))
        changed = scores[-1] > threshold
        reference = torch.where(changed[..., None], now, reference) if anchored else now
    score = torch.stack(scores)
    return Gated(score > threshold, score)


def _dissimilarity(a: Tensor, b: Tensor) -> Tensor:
    """1 - SSIM by the statistics of whole patches ``[h, w, D]`` (Wang et al. 2004, eq. 13)."""
    high, low = (torch.stack([f(a, -1), f(b, -1)]) for f in (torch.amax, torch.amin))
    span = (high.amax(0) - low.amin(0)).clamp(min=1)  # [h, w]
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    mean_a, mean_b = a.mean(-1), b.mean(-1)
    var_a, var_b = a.var(-1, unbiased=False), b.var(-1, unbiased=False)
    covariance = (a * b).mean(-1) - mean_a * mean_b
    ssim = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return 1 - ssim / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).norm(dim=-1)


def scenes(features: Tensor, keep: Tensor, head: Tensor) -> Tensor:
    """The semantic scene of each frame, ``[T]`` int64, counted from 0.

    Key frames are the first and those of which more than .8 changed. Each begins a scene, unless
    its distribution over words is less than .4 from that of the key frame before.

    Args:
        features: ``[T, N, D]`` of the dense tower.
        keep: ``[T, h, w]`` bool, of the gate.
        head: ``[V, D]``, which the mean token is projected with (a language model's).
    """
    is_key = keep.flatten(1).float().mean(1) > KEY_SHARE  # [T]
    is_key[0] = True
    keys = is_key.nonzero().flatten()
    words = (features[keys].mean(1) @ head.T).log_softmax(-1)  # [K, V]
    divergence = released_divergence(words[:-1], words[1:])  # [K - 1]
    new = torch.zeros(len(keep), dtype=torch.int64, device=keep.device)
    new[keys[1:]] = (divergence >= SAME_SCENE).long()
    return new.cumsum(0)


def released_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Of log-probabilities ``[K, V]``: ``(KL(m || p) + KL(m || q)) / 2``, m their mean, ``[K]``.

    As released; Jensen and Shannon take KL(p || m), which never exceeds log 2.
    """
    middle = (log_p.exp() + log_q.exp()) / 2
    both = middle.clamp(min=1e-30).log() * 2 - log_p - log_q
    return (middle * both).sum(-1) / 2


def packed(gated: Gated, share: float = PACKED_SHARE) -> Choice:
    """What reaches the language model as released: of every frame, the patches that moved most.

    ``share`` of each, at least 16, whatever changed; scenes choose what is averaged into a summary
    that the model is not given, so that they change nothing here.
    """
    frames, h, w = gated.score.shape
    count = min(h * w, max(LEAST_PACKED, math.ceil(share * h * w)))
    most = gated.score.flatten(1).topk(count, sorted=False).indices  # [T, count]
    keep = torch.zeros((frames, h * w), dtype=torch.bool, device=most.device)
    return Choice.of(keep.scatter_(1, most, True).view(frames, h, w))
