"""Chooses which members of a group count for its mean.

A tight budget joins tokens of different content. If the mean of all members is near to every one of
them, it is used: the mean of two similar tokens is half as far from either as they are from each
other. The mean of a 3 and an 8 is neither a 3 nor an 8. Then only the members that are near to the
one in the middle count.

Letters: K tokens, G groups, M members of groups of several, D features.
"""

import torch
from torch import Tensor

from patchgate import _ops
from patchgate.merging.window import means, numbering

_TIE = 1.001


def agreeing(features: Tensor, weight: Tensor, root: Tensor, agreement: float) -> Tensor:
    """Returns the weights ``[K]`` float64, with 0 for members that do not count.

    The middle member of a group is the one nearest to its mean (the first of those whose distance
    is at most a thousandth larger). If no member is further from the mean than ``agreement`` times
    the middle one's length, all count. Otherwise only those count that are no further than that
    from the middle one.

    Args:
        features: ``[K, D]`` float32.
        weight: ``[K]`` float64.
        root: ``[K]`` int64, the representative of each token's group.
        agreement: a share of the middle one's length.
    """
    _, number = numbering(root)
    several = number.bincount() > 1  # [G]
    member = several[number].nonzero().flatten()  # [M]
    if not len(member):
        return weight
    mean = means(features, weight, root)  # [G, D]
    distance = _distances(features, member, mean, number[member])  # [M]
    groups = len(several)
    least = distance.new_full((groups,), torch.inf)
    least.scatter_reduce_(0, number[member], distance, "amin")
    # Both members of a pair are equally near, except for rounding: the first one is taken.
    nearest = member[distance <= least[number[member]] * _TIE]
    middle = root.new_full((groups,), len(root))
    middle.scatter_reduce_(0, number[nearest], nearest, "amin")
    middle[~several] = 0
    length = torch.linalg.vector_norm(features[middle.to(features.device)], dim=1).cpu()  # [G]
    limit = agreement * length  # [G]
    furthest = distance.new_zeros(groups).scatter_reduce_(0, number[member], distance, "amax")
    doubtful = member[(furthest > limit)[number[member]]]
    apart = _distances(features, doubtful, features, middle[number[doubtful]])
    unlike = doubtful[apart > limit[number[doubtful]]]
    return weight.index_fill(0, unlike, 0.0)


def _distances(left: Tensor, left_row: Tensor, right: Tensor, right_row: Tensor) -> Tensor:
    """Computes the distance of each pair of rows; returns it on the CPU, like their indices."""
    on = left.device
    return _ops.row_distance(left, left_row.to(on), right, right_row.to(on)).cpu()
