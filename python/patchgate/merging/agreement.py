"""Which members of a group its mean is made of.

A tight budget joins tokens that do not say the same. Where the mean of all is near to every one of
them, it serves them all: of two that differ by a little it is half as far from either as they are
from each other. The mean of a 3 and an 8 is neither: then it is the members that agree with the one
in the middle whose mean says something.

Letters: K tokens, G groups, M members of groups of several, D features.
"""

import torch
from torch import Tensor

from patchgate import _ops
from patchgate.merging.window import means, numbering

_TIE = 1.001


def agreeing(features: Tensor, weight: Tensor, root: Tensor, agreement: float) -> Tensor:
    """The weights ``[K]``; 0 for members that do not count.

    The middle one of a group is the one nearest to its mean (the first of those that are a
    thousandth further at most). If no member is further from the mean than ``agreement`` times the
    middle one's length, all count; else those that are no further than that from the middle one.

    Args:
        features: ``[K, D]`` float32. weight: ``[K]`` float64. root: ``[K]`` int64.
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
    # The two of a pair are equally near, but for rounding: the first is taken.
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
    """The distance of each pair of rows, on the CPU, where their indices are."""
    on = left.device
    return _ops.row_distance(left, left_row.to(on), right, right_row.to(on)).cpu()
