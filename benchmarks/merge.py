"""Merging to a budget, against plain torch: python benchmarks/merge.py

Tokens of 20 x 20 cells and 1152 numbers (so400m/14), every cell of every frame, of a video in which
a tenth of the cells changes from frame to frame under a little noise: 25,000 of them, 50,000 and
100,000, brought down to a fifth on two threads.

- ours: ``merge``: choices, nearest, links by price with means brought up to date, final means;
- plain torch: each token's cosine to the same choices, a thousand tokens at a time, the best of
  each, the best of all, pointers followed to their end, means. It weighs no link twice.

Memory: what the process grew by at most, over the tokens' own.
"""

import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import harness
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import normalize

from patchgate import VideoTokens, merge
from patchgate.merge import links, merger
from patchgate.merge.budget import Purse
from patchgate.merge.scenes import SceneTracker
from patchgate.merge.settings import MergeSettings
from patchgate.tokens import cu_seqlens

GRID, WIDTH, SHARE = (20, 20), 1152, 0.2
CELLS = GRID[0] * GRID[1]
TOKENS = (25_000, 50_000, 100_000)
CHUNK = 1000


def make_tokens(tokens: int) -> VideoTokens:
    random = torch.Generator().manual_seed(0)
    frames = tokens // CELLS
    features = torch.randn(CELLS, WIDTH, generator=random)
    parts = []
    for _ in range(frames):
        changed = torch.rand(CELLS, 1, generator=random) < 0.1
        features = features + changed * torch.randn(CELLS, WIDTH, generator=random) / 2
        parts.append(features + torch.randn(CELLS, WIDTH, generator=random) / 20)
    kind = torch.full((frames, *GRID), 2, dtype=torch.uint8)
    frame, row, column = kind.nonzero().unbind(1)
    return VideoTokens(
        features=torch.cat(parts),
        frame=frame,
        cell=torch.stack([row, column], 1),
        span=torch.ones_like(frame),
        pts_seconds=torch.arange(frames, dtype=torch.float64) / 30,
        duration_seconds=torch.full((frames,), 1 / 30, dtype=torch.float64),
        cu_seqlens=cu_seqlens(kind),
        source=torch.arange(tokens).view(kind.shape),
        kind=kind,
        motion=torch.zeros((*kind.shape, 2), dtype=torch.int8),
        layout=None,
    )


def ours(tokens: VideoTokens) -> Tensor:
    return merge(tokens, budget=round(SHARE * len(tokens)), delta=None).features


def plain(features: Tensor, choices: Tensor) -> Tensor:
    """Chunked cosine matching over choices ``[K, B]``, -1 for none."""
    unit = normalize(features, dim=1)
    best, link = [], []
    for own, some in zip(unit.split(CHUNK), choices.split(CHUNK), strict=True):
        cosine = torch.einsum("kd,kbd->kb", own, unit[some.clamp(min=0)])  # [k, B]
        top = cosine.masked_fill(some < 0, -torch.inf).max(1)
        best.append(top.values)
        link.append(some.gather(1, top.indices[:, None])[:, 0])
    gone = torch.cat(best).topk(len(features) - round(SHARE * len(features))).indices
    root = torch.arange(len(features))
    root[gone] = torch.cat(link)[gone]
    while not torch.equal(root, root[root]):
        root = root[root]
    stays, number = root.unique(return_inverse=True)
    sums = torch.zeros(len(stays), features.shape[1]).index_add_(0, number, features)
    return sums / number.bincount()[:, None]
