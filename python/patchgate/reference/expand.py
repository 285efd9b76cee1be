"""Expansion: brings tokens back to the dense grid by the source table."""

from torch import Tensor


def expand(features: Tensor, source: Tensor) -> Tensor:
    """Returns ``features[source]``: every cell gets the features of the token that explains it.

    Args:
        features: ``[K, D]``, any dtype.
        source: ``[...]`` int64 in ``[0, K)``.

    Returns:
        ``[..., D]``.
    """
    return features[source]
