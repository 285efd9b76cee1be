"""Efficient Video Sampling (NVIDIA, arXiv 2510.14624; in vLLM and SGLang): a budget, afterwards.

Letters: T frames, N cells, D features.
"""

from torch import Tensor
from torch.nn.functional import cosine_similarity

from peers import top_k
from peers.choice import Choice

SHARE = 0.5  # common; 0.3 is what its models were trained with


def dissimilarities(features: Tensor) -> Tensor:
    """1 - cosine of ``[T, N, D]`` to the frame before, ``[T, N]``; the first frame has inf."""
    found = features.new_full(features.shape[:2], float("inf"))
    found[1:] = 1 - cosine_similarity(features[1:], features[:-1], dim=-1)
    return found


def choose(found: Tensor, share: float = SHARE) -> Choice:
    """The first frame, and of the others those that differ most, ``share`` of all in the end.

    Args:
        found: ``dissimilarities``.
        share: 1 - q, q the pruning rate.
    """
    frames, cells = found.shape
    return Choice.of(top_k.keep_mask(found, max(cells, int(frames * cells * share))))
