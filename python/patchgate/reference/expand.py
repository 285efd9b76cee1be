"""Expansion: tokens back to the dense grid through the source table."""

from torch import Tensor


def expand(features: Tensor, source: Tensor) -> Tensor:
    """``features[source]``: every cell gets the features of the token that explains it.

    Args:
        features: ``[K, D]``, any dtype.
        source: ``[...]`` int64 in ``[0, K)``.

    Returns:
        ``[..., D]``.
    """
    return features[source]
