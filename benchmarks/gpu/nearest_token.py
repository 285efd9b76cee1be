"""Nearest token: 20,000 tokens of width 1152, each with 29 candidates, as a frame's neighbours are.

Letters: K tokens, D features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpu import Case
from gpu.floors import Work
from patchgate import _ops

WIDTH, CANDIDATES = 1152, 29


def cases(small: bool) -> list[Case]:
    tokens = 16 if small else 20_000
    random = torch.Generator().manual_seed(0)
    features = torch.randn(tokens, WIDTH, generator=random)  # [K, D]
    query = torch.arange(tokens)
    near = query[:, None] + torch.arange(CANDIDATES) - CANDIDATES // 2  # [K, candidates]
    candidate = torch.where((near >= 0) & (near < tokens), near, -1).flatten()
    begin = query * CANDIDATES
    moved = features.numel() * 4 + 8 * (candidate.numel() + 3 * tokens) + 12 * tokens
    work = Work(moved, float32=3 * candidate.numel() * WIDTH)
    inputs = (features, query, candidate, begin, begin + CANDIDATES)
    name = f"{tokens} tokens with {CANDIDATES} candidates each"
    op = _ops.nearest_token
    return [Case("nearest_token", name, work, inputs, op, agree=_same, baseline=_gathered)]


def _same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """No two candidates of random rows are as good as each other."""
    return torch.equal(ours[0], theirs[0]) and torch.allclose(ours[1], theirs[1], rtol=1e-4)


def _gathered(features: Tensor, query: Tensor, candidate: Tensor, *ends: Tensor) -> Tensor:
    """In plain torch, some queries at a time: every candidate's row is copied beside its query."""
    found = []
    for own, rows in zip(query.split(1024), candidate.split(1024 * CANDIDATES), strict=True):
        table = features[rows.clamp(min=0)].view(len(own), CANDIDATES, -1)
        squares = (table - features[own][:, None]).square().sum(2)
        none = (rows.view(len(own), CANDIDATES) < 0) | (rows.view(len(own), -1) == own[:, None])
        found.append(squares.masked_fill(none, torch.inf).argmin(1))
    return torch.cat(found)
