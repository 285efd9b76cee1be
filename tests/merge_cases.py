"""Tokens to merge, and what the ops of merging are called with.

Letters: T frames, h w cells, K tokens, D features, L candidates, Q queries, B bins.
"""

from typing import NamedTuple

import torch
from token_cases import kept_mask, video_tokens
from torch import Tensor

from patchgate import VideoTokens


class Choice(NamedTuple):
    """The arguments of nearest_token."""

    features: Tensor  # [K, D]
    query: Tensor  # [Q]
    candidate: Tensor  # [L]
    begin: Tensor  # [Q]
    end: Tensor  # [Q]


def make_choice(tokens: int, width: int, queries: int, candidates: int) -> Choice:
    """Overlapping ranges of candidates, some of which are none."""
    candidate = torch.randint(-1, tokens, (candidates,))
    ends = torch.randint(0, candidates + 1, (queries, 2)).sort(1).values
    query = torch.randint(0, tokens, (queries,))
    return Choice(torch.randn(tokens, width), query, candidate, *ends.T.contiguous())


def pairs(left: int, right: int, width: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The arguments of row_distance."""
    tables = torch.randn(left, width), torch.randn(right, width)
    rows = torch.randint(0, left, (count,)), torch.randint(0, right, (count,))
    return tables[0], rows[0], tables[1], rows[1]


class Links(NamedTuple):
    """The arguments of contract."""

    features: Tensor  # [K, D]
    weight: Tensor  # [K]
    link: Tensor  # [K]
    distance: Tensor  # [K]
    bin: Tensor  # [K]
    room: Tensor  # [B]
    most: int
    threshold: float


def make_links(
    features: Tensor, fixed: int = 0, bins: int = 1, most: int = 1 << 40, threshold: float = 1e9
) -> Links:
    """A random forest of links to earlier tokens, of which the first ``fixed`` may not change."""
    tokens = len(features)
    link = (torch.rand(tokens) * torch.arange(tokens)).long() - (torch.rand(tokens) < 0.2).long()
    link = torch.where(torch.arange(tokens) > fixed, link.clamp(min=-1), -1)
    distance = (features - features[link.clamp(min=0)]).square().sum(1)
    weight = torch.randint(1, 9, (tokens,)).double()
    weight[:fixed] = torch.inf
    room = torch.full((bins,), tokens // (2 * bins) + 1 if bins > 1 else tokens)
    return Links(
        features, weight, link, distance, torch.arange(tokens) % bins, room, most, threshold
    )


def random_tokens(t: int = 12, grid: tuple[int, int] = (4, 5), width: int = 6) -> VideoTokens:
    """A third of the cells kept in most frames; every token unlike the others."""
    kept = kept_mask(t, grid)
    return video_tokens(kept, torch.randn(int(kept.sum()), width), fps=10.0)


def still_tokens(t: int = 12, grid: tuple[int, int] = (4, 5), width: int = 6) -> VideoTokens:
    """Every frame whole, and the same."""
    kept = torch.ones(t, *grid, dtype=torch.bool)
    return video_tokens(kept, torch.randn(grid[0] * grid[1], width).repeat(t, 1), fps=10.0)
