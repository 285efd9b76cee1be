"""Tokens to merge, and what the ops of merging are called with.

Letters: T frames, h w cells, K tokens, D features, L candidates, Q queries, B bins.
"""

from typing import NamedTuple

import torch
from token_cases import kept_mask, video_tokens
from torch import Tensor

from patchgate import MergeStream, TokenChunk, VideoTokens
from patchgate.gate import CHANGED, MERGED
from patchgate.tokens.chunk import joined, split


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


def check(tokens: VideoTokens, merged: VideoTokens) -> Tensor:
    """What holds of every merging. Returns, for each old token, the new one: ``[K]``."""
    group = torch.full((len(tokens),), -1)
    group[tokens.source.flatten()] = merged.source.flatten()
    assert torch.equal(group[tokens.source], merged.source)  # a token's cells stay together
    assert torch.equal(merged.source.unique(), torch.arange(len(merged)))
    for name in ("pts_seconds", "duration_seconds", "motion"):
        assert torch.equal(getattr(merged, name), getattr(tokens, name))
    same = merged.kind == tokens.kind
    assert bool(((tokens.kind == CHANGED) & (merged.kind == MERGED))[~same].all())
    check_features(tokens, merged, group)
    check_places(merged)
    assert int(merged.size.sum()) == tokens.source.numel()
    return group


def check_features(tokens: VideoTokens, merged: VideoTokens, group: Tensor) -> None:
    """Each is the mean of the dense cells that it stands for, or of those like the middle one."""
    features = tokens.features.double()
    for k in range(len(merged)):
        member = (group == k).nonzero().flatten()
        weight, rows = tokens.size[member].double(), features[member]
        mean = (weight[:, None] * rows).sum(0) / weight.sum()
        away = (rows - mean).norm(dim=1)
        middle = rows[(away <= away.min() * 1.001).nonzero()[0, 0]]
        if away.max() > 0.3 * middle.norm():
            weight[(rows - middle).norm(dim=1) > 0.3 * middle.norm()] = 0
        mean = (weight[:, None] * rows).sum(0) / weight.sum()
        torch.testing.assert_close(merged.features[k].double(), mean, rtol=1e-5, atol=1e-5)


def check_places(merged: VideoTokens) -> None:
    """A token stands where it says, first of all, and is the only one there."""
    own = (merged.kind == CHANGED).nonzero()
    places = torch.cat([merged.frame[:, None], merged.cell], 1)
    assert torch.equal(own, places)
    assert torch.equal(merged.source[tuple(places.T)], torch.arange(len(merged)))
    assert merged.cu_seqlens.dtype == torch.int32
    assert torch.equal(
        merged.cu_seqlens.diff().long(), merged.frame.bincount(minlength=merged.shape.T)
    )
    for k in range(len(merged)):
        frames = (merged.source == k).flatten(1).any(1).nonzero().flatten()
        assert int(frames[0]) == int(merged.frame[k])  # never shown before it is there
        assert int(frames[-1]) == int(merged.frame[k] + merged.span[k] - 1)


GRID, WIDTH = (3, 4), 8


N = GRID[0] * GRID[1]


def shots(*places: int, length: int = 3, noise: float = 0.01) -> VideoTokens:
    """Shots of so many frames: the first whole, the others with one cell of their own."""
    kept = torch.zeros(len(places) * length, *GRID, dtype=torch.bool)
    kept[::length] = True
    kept[:, 0, 0] = True
    looks = torch.randn(max(places) + 1, N, WIDTH) + 2 * torch.randn(max(places) + 1, 1, WIDTH)
    features = []
    for t, mask in enumerate(kept):
        look = looks[places[t // length]]
        features.append(look[mask.flatten()] + noise * torch.randn(int(mask.sum()), WIDTH))
    return video_tokens(kept, torch.cat(features), fps=10.0)


SETTINGS = [
    {"ratio": 0.7, "spatial": True},
    {"threshold": 0.5},
    {"budget": 2, "per": "frame", "similar": True},
    {"budget": 40, "per": "second", "similar": True},
]


def chunk_of(tokens: VideoTokens) -> TokenChunk:
    return TokenChunk(*(getattr(tokens, name) for name in TokenChunk._fields))


def streamed(tokens: VideoTokens, cuts: list[int], **asked) -> TokenChunk:
    stream, rest, out, before = MergeStream(**asked), chunk_of(tokens), [], 0
    for frames in cuts:
        first, rest = split(rest, frames, before)
        before += len(first.kind)
        out += stream.push(first)
    return joined([*out, *stream.push(rest), *stream.flush()])
