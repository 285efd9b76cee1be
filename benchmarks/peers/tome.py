"""Token Merging (Bolya et al., ICLR 2023, arXiv 2210.09461): bipartite soft matching.

Letters: T frames, N tokens of a frame, n those left, D features.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from peers.choice import Choice

SHARE = 0.5


class Merging(NamedTuple):
    """Tokens of each frame while they are merged; all frames keep as many."""

    tokens: Tensor  # [T, n, D]
    size: Tensor  # [T, n]: cells that each stands for
    owner: Tensor  # [T, N]: which of the n each cell is in
    name: Tensor  # [T, n]: the cell that each is named by

    @classmethod
    def start(cls, tokens: Tensor) -> "Merging":
        """Every cell ``[T, N, D]`` a token of its own."""
        frames, cells = tokens.shape[:2]
        each = torch.arange(cells, device=tokens.device).expand(frames, -1)
        return cls(tokens, tokens.new_ones(frames, cells), each, each)

    def merged(self, metric: Tensor, count: int) -> "Merging":
        """``count`` tokens of each frame fewer (at most half): section 3, the soft matching.

        Tokens are dealt out in turn to A and B; each of A proposes its most similar in B by the
        cosine of ``metric`` ``[T, n, d]``; the ``count`` best proposals are carried out. Order:
        what is left of A, then B.
        """
        frames, n = self.size.shape
        count = min(count, n // 2)
        metric = normalize(metric, dim=-1)
        best, partner = (metric[:, ::2] @ metric[:, 1::2].transpose(1, 2)).max(-1)  # [T, a] each
        order = best.argsort(dim=1, descending=True, stable=True)
        gone, stays = order[:, :count], order[:, count:].sort(1).values  # of A
        left = stays.shape[1]
        # Where each of the n goes: [T, n].
        place = torch.empty((frames, n), dtype=torch.int64, device=metric.device)
        place[:, 1::2] = left + torch.arange(n // 2, device=metric.device)
        of_a = torch.empty_like(order)
        of_a.scatter_(1, stays, torch.arange(left, device=metric.device).expand(frames, -1))
        of_a.scatter_(1, gone, left + partner.gather(1, gone))
        place[:, ::2] = of_a
        size = self.size.new_zeros((frames, n - count)).scatter_add_(1, place, self.size)
        weighted = self.tokens * self.size[..., None]
        to = place[..., None].expand_as(weighted)
        sums = weighted.new_zeros((frames, n - count, weighted.shape[2])).scatter_add_(
            1, to, weighted
        )
        name = torch.cat([self.name[:, ::2].gather(1, stays), self.name[:, 1::2]], 1)
        return Merging(sums / size[..., None], size, place.gather(1, self.owner), name)

    def choice(self) -> Choice:
        """As sources over the clip, ``[T, N]``."""
        first = torch.arange(len(self.owner), device=self.owner.device)[:, None]
        return Choice(self.name.gather(1, self.owner) + first * self.owner.shape[1], mean=True)


def choose(features: Tensor, share: float = SHARE) -> Choice:
    """Merges the tokens of each frame ``[T, N, D]`` until ``share`` of them is left.

    After the tower, by the features themselves; ``tome_layers`` does it in every layer, by keys.
    """
    state = Merging.start(features)
    wanted = max(1, round(features.shape[1] * share))
    while (surplus := state.tokens.shape[1] - wanted) > 0:
        state = state.merged(state.tokens, surplus)
    return state.choice()
