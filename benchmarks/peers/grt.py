"""Gated Residual Tokenization as its authors released it: the gate and the scene merge.

Zhang et al., "Dense Video Understanding with Gated Residual Tokenization", arXiv 2509.14199.
Letters: T frames, C channels, H W pixels, h w patches, N = h * w, D samples.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from peers.choice import Choice
from peers.pixels import normalised, patches

Measure = Literal["ssim", "l2"]
TAU: dict[Measure, float] = {"ssim": 0.01, "l2": 0.3}
LEAST_PACKED, PACKED_SHARE = 16, 0.5  # patches of a frame


class Gated(NamedTuple):
    """What the gate says."""

    keep: Tensor  # [T, h, w] bool
    score: Tensor  # [T, h, w] float32: how much a patch differs from its reference; first frame inf


class Cut(NamedTuple):
    """Patches and what is measured of each of them alone: once, whatever the threshold."""

    samples: Tensor  # [..., h, w, D]
    alone: Tensor  # [..., h, w, 4]: mean, variance, least, most; nothing for the distance

    def at(self, t: int) -> "Cut":
        """The cells of a frame."""
        return Cut(self.samples[t], self.alone[t])


def cut(frames: Tensor, patch: int, measure: Measure) -> Cut:
    """Gates ``[T, 3, H, W]``, normalised floats or uint8 RGB, frame by frame."""
    samples = torch.stack([patches(normalised(f[None])[0], patch) for f in frames])
    if measure == "l2":
        return Cut(samples, samples[..., :0])
    return Cut(samples, torch.stack([_statistics(some) for some in samples]))


def _statistics(samples: Tensor) -> Tensor:
    """``[h, w, D]`` to ``[h, w, 4]``."""
    found = (samples.mean(-1), samples.var(-1, unbiased=False), *samples.aminmax(dim=-1))
    return torch.stack(found, -1)


def gate(known: Cut, threshold: float, measure: Measure) -> Gated:
    """Every patch against a cache of patches; one that differs replaces its reference.

    The loop over frames is the method (a patch is compared with the last one that was kept);
    within a frame all patches are compared at once.

    Args:
        known: of ``cut``, by the same measure.
        threshold: of 1 - SSIM over the whole patch, or of the Euclidean distance.
        measure: which of the two.
    """
    differ = _dissimilarity if measure == "ssim" else _distance
    reference = Cut(*(every.clone() for every in known.at(0)))
    scores = [torch.full_like(reference.samples[..., 0], torch.inf)]
    for t in range(1, len(known.samples)):
        now = known.at(t)
        scores.append(differ(now, reference))
        changed = scores[-1] > threshold
        for old, new in zip(reference, now, strict=True):
            old[changed] = new[changed]
    score = torch.stack(scores)
    return Gated(score > threshold, score)


def _dissimilarity(a: Cut, b: Cut) -> Tensor:
    """1 - SSIM by the statistics of whole patches, ``[h, w]`` (Wang et al. 2004, eq. 13)."""
    mean_a, var_a, low_a, high_a = a.alone.unbind(-1)  # [h, w] each
    mean_b, var_b, low_b, high_b = b.alone.unbind(-1)
    span = (torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)).clamp(min=1)
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    covariance = (a.samples * b.samples).mean(-1) - mean_a * mean_b
    ssim = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return 1 - ssim / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))


def _distance(a: Cut, b: Cut) -> Tensor:
    return (a.samples - b.samples).norm(dim=-1)


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
