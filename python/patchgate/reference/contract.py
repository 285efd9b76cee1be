"""Contraction: joins linked tokens, the cheapest links first, until few enough tokens are left.

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
    """Finds the token that represents each token, when the cheapest links are joined.

    A token may join the one that it is linked to: their group is represented by that one, and by
    the weighted mean of all its members. The price of a link is::

        price = sqrt(w_a * w_b / (w_a + w_b)) * |mean_a - mean_b|^2

    Without the root this is Ward's price: the increase of the squared error of all cells that the
    tokens represent. With it, tokens that are shown for a short time are not lost in favour of
    those that are shown long and hardly change (on rendered clips, more could be read of a
    twentieth of the tokens). Links are joined in the order of price (ties: of the token's number).
    If the groups of a link have changed since its price was computed, the price is computed again,
    and the link waits for its turn.

    Args:
        features: float32.
        weight: float64, positive; infinite for a token that must not change. It never joins.
        link: int64, the token that each may join, -1 for none; links form no circle.
        distance: float32, squared Euclidean, to the linked token.
        bin: int64 in ``[0, B)``.
        room: int64, how many tokens of each bin may join another.
        most: how many tokens may join others in all.
        threshold: the most ``|mean_a - mean_b| / |mean_b|``, where a joins b. A link above it is
            dropped when its turn comes.

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
