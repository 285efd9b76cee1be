"""Contraction: of links between tokens, the cheapest are joined first, until there are few enough.

Hierarchical grouping (J. H. Ward, "Hierarchical grouping to optimize an objective function", 1963)
in which only linked groups may be joined, and weights count by their square root.
"""

import heapq
import math

from torch import Tensor

from patchgate._tensors import whole


def contract(
    features: Tensor,  # [K, D]
    weight: Tensor,  # [K]
    link: Tensor,  # [K]
    distance: Tensor,  # [K]
    bin: Tensor,  # [K]
    room: Tensor,  # [B]
    most: int,
    threshold: float,
) -> Tensor:  # [K]
    """Which token stands for each, once the cheapest links are joined.

    A token may join the one that it is linked to: their group is represented by that one, and by
    the weighted mean of all its members. The price of a link is::

        price = sqrt(w_a * w_b / (w_a + w_b)) * |mean_a - mean_b|^2

    Without the root this is Ward's: what joining adds to the squared error of everything that the
    tokens stand for. With it, what is shown for a short time is not given up for whatever stands
    long and hardly changes (on rendered clips more could be read of a twentieth of the tokens). In
    the order of price (ties: of the token's number) each link is joined. One whose groups have
    changed since it was weighed is weighed again first, and waits for its turn.

    Args:
        features: float32.
        weight: float64, positive; infinite for a token that nothing may change. It never joins.
        link: int64, the token that each may join, -1 for none; following links never leads round.
        distance: float32, squared Euclidean, to the token linked to.
        bin: int64 in ``[0, B)``. room: int64, how many tokens of each bin may join another.
        most: how many may do so at all.
        threshold: of ``|mean_a - mean_b| / |mean_b|``, b being joined. A link that is above it when
            its turn comes is dropped.

    Returns:
        int64, the representative of each token's group.
    """
    mean = [row.double() for row in features]
    size, parent, bins = weight.tolist(), link.tolist(), bin.tolist()
    left, squares = room.tolist(), distance.tolist()
    top = list(range(len(size)))
    changed, weighed, clock = [0] * len(size), [0] * len(size), 0

    def find(token: int) -> int:
        while top[token] != token:
            token = top[token]
        return token

    def price(a: int, b: int) -> float:
        return math.sqrt(size[a] / (1 + size[a] / size[b])) * squares[a]

    able = [a for a in top if parent[a] >= 0 and size[a] < math.inf and squares[a] < math.inf]
    heap = [(price(a, parent[a]), a) for a in able]
    heapq.heapify(heap)
    while heap and most > 0:
        _, a = heapq.heappop(heap)
        b = find(parent[a])
        if b == a or not left[bins[a]]:
            continue
        if max(changed[a], changed[b]) > weighed[a]:
            squares[a], weighed[a] = float((mean[a] - mean[b]).square().sum()), clock
            heapq.heappush(heap, (price(a, b), a))
            continue
        if squares[a] > threshold**2 * float(mean[b].square().sum()):
            continue
        share = size[a] / (size[a] + size[b])
        mean[b] = mean[b] + share * (mean[a] - mean[b])
        size[b] += size[a]
        clock += 1
        top[a], changed[b] = b, clock
        left[bins[a]] -= 1
        most -= 1
    return whole(find(a) for a in top)
