"""Merging to a budget, against plain torch: python benchmarks/merge.py

Tokens of 20 x 20 cells and 1152 numbers (so400m/14), every cell of every frame, of a video in which
a tenth of the cells changes from frame to frame under a little noise: 20,000 of them and 100,000,
brought down to a fifth on two threads.

- ours: ``merge``, all of it: choices, the nearest of them, links by price with means brought up to
  date, which members agree, final means, the container;
- plain torch: each token's cosine to the same choices, a thousand tokens at a time, the best of
  each, the best of all, pointers followed to their end, means. The list of choices is given to it,
  and it weighs no link twice.

Memory: the peak of a process of its own, over what it took before the call, when the tokens'
features and the plain one's choices are there already.
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import harness
import table
import torch
from reading.merged import every_cell
from torch import Tensor
from torch.nn.functional import normalize, pad

from patchgate import VideoTokens, merge

GRID, WIDTH, SHARE = (20, 20), 1152, 0.2
CELLS = GRID[0] * GRID[1]
TOKENS = (20_000, 100_000)
CHUNK = 1000
REACH, MEMORY = 2, 4  # merge's defaults, said here for the choices of the plain one


def make_tokens(tokens: int) -> VideoTokens:
    random = torch.Generator().manual_seed(0)
    frames = tokens // CELLS
    look = torch.randn(CELLS, WIDTH, generator=random)
    features = torch.empty(tokens, WIDTH)  # filled in place: the peak is to be that of the calls
    for part in features.split(CELLS):
        changed = torch.rand(CELLS, 1, generator=random) < 0.1
        look = look + changed * torch.randn(CELLS, WIDTH, generator=random) / 2
        part.copy_(look + torch.randn(CELLS, WIDTH, generator=random) / 20)
    return every_cell(features.view(frames, CELLS, WIDTH), GRID, fps=30)


def ours(tokens: VideoTokens) -> Tensor:
    budget = round(SHARE * len(tokens))
    return merge(tokens, budget=budget, delta=None).features


def choices_of(frames: int) -> Tensor:
    """The window that ``merge`` looks into, of whole frames: ``[K, B]``, -1 for none."""
    token = torch.arange(frames * CELLS).view(frames, *GRID)
    wide = pad(token, (REACH,) * 4 + (max(2, MEMORY), 0), value=-1)  # [T + , h + , w + ]
    steps = [(1, dy, dx) for dy in range(2 * REACH + 1) for dx in range(2 * REACH + 1)]
    steps += [(back, REACH, REACH) for back in range(2, MEMORY + 1)]  # 1 is among the others
    steps += [(0, REACH, REACH - 1), (0, REACH - 1, REACH)]  # to the left and above
    first = max(2, MEMORY)
    parts = [
        wide[first - back : first - back + frames, dy : dy + GRID[0], dx : dx + GRID[1]]
        for back, dy, dx in steps
    ]
    return torch.stack(parts, -1).flatten(0, 2)


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


def check(tokens: VideoTokens, choices: Tensor) -> None:
    """What is timed is what it says."""
    features = tokens.features
    merged = merge(tokens, budget=round(SHARE * len(tokens)), delta=None)
    assert len(merged) == len(plain(features, choices)) == round(SHARE * len(tokens))
    assert torch.equal(merged.features, ours(tokens))


def measure(tokens: int, rounds: int = 5) -> dict[str, Any]:
    given, choices = make_tokens(tokens), choices_of(tokens // CELLS)
    check(given, choices)
    calls = {"ours": lambda: ours(given), "plain": lambda: plain(given.features, choices)}
    seconds = harness.paired(calls, rounds)
    return {
        "tokens": tokens,
        "choices of each": choices.shape[1],
        "ours s": round(statistics.median(seconds["ours"]), 2),
        "plain s": round(statistics.median(seconds["plain"]), 2),
        "times faster": round(harness.ratio(seconds["plain"], seconds["ours"]), 1),
        **{f"{which} MB": round(harness.peak(prepared, which, tokens) / 1e6) for which in calls},
    }


def prepared(which: str, tokens: int) -> Callable[[], Tensor]:
    """The call whose memory is looked at: what libraries take once is taken, inputs are made."""
    small = make_tokens(2 * CELLS)
    ours(small), plain(small.features, choices_of(2))
    given, choices = make_tokens(tokens), choices_of(tokens // CELLS)
    return partial(ours, given) if which == "ours" else partial(plain, given.features, choices)


def main() -> None:
    rows = [measure(tokens) for tokens in TOKENS]
    table.publish("merge", rows, "merging to a fifth of the tokens")


if __name__ == "__main__":
    torch.set_num_threads(harness.THREADS)
    main()
