"""Takes some frames of a clip through a tower, run after run, and collects their states.

Letters: T frames, N cells, m merge side, M = prefix + N * m^2 tokens of a frame, K kept cells, F
frames that computed anything, D features of a token, E features of a cell, n numbers for pooling.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate import _ops
from patchgate.encoders.run import pooling
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.memory import Memory
from patchgate.encoders.run.packed import Counts, Encoded, Kept
from patchgate.encoders.run.run import Run
from patchgate.encoders.run.still import Still, stand_still
from patchgate.encoders.run.together import Steps
from patchgate.encoders.tower import Tower

_ROWS = 2048  # the most packed rows of a run: the MLP's buffers stay small enough to be reused
_TOKENS = 8192  # the most tokens of all frames of a run, if still tokens are watched


class ClipOutput(NamedTuple):
    """The states that some frames of a clip show, and the memory that they leave."""

    # "features" -> [T, prefix + N, E], "hidden_<i>" -> [T, M, D], "born" (see Encoded) ->
    # [T, prefix + N, 1]; empty if less was wanted
    states: dict[str, Tensor]
    pooled: Tensor | None  # [T, D]: the tower's pooled output, or what ``pool`` asks for
    kept: Tensor  # [K, E]: the features of the kept cells; [0, E] if only ``pool`` was wanted
    runs: list[Counts]  # see ``work``
    memory: Memory


def encode_steps(
    tower: Tower,
    fidelity: Fidelity,
    memory: Memory,
    kept: Kept,
    hidden: list[int],
    later: Tensor | None = None,
    dense: bool = True,
    pool: pooling.Pool | None = None,
) -> Steps[ClipOutput]:
    """Encodes frames that follow those of the memory.

    Args:
        hidden: the numbers of the hidden states that are wanted.
        later: integer ids of tokens that frames after these may name; None: there are no such
            frames.
        dense: True computes every token's states, False only the features of kept cells.
        pool: compute nothing but this vector of each frame (``leaving.pools``, for "pooled").
    """
    parts, counts, done = [], [], 0
    wanted = pooling.Wanted.of(tower, pool)
    fidelity = wanted.fidelity(tower, fidelity)
    for part in _runs(tower, fidelity, kept):
        for turn in part.turns:  # of its first frame
            memory = memory.turned(turn, tower)
        done += len(part.mask)
        last = later is None and done == len(kept.mask)
        run: Run | Still
        if stand_still(fidelity, memory, len(part.patches), part.source):
            run = Still(tower, fidelity, memory, part)
            encoded = run.encode(hidden)
        else:
            run = Run(tower, fidelity, memory, part, wanted, last)
            encoded = yield from run.steps(hidden)
        states: dict[str, Tensor] = {}
        pooled, before = None, memory.pooled
        if pool is not None:
            pooled = pooling.vectors(tower, encoded, pool, before)
            of_kept = tower.weight.new_empty((0, tower.width))
        else:
            states, pooled = _shown(tower, encoded, before) if dense else (states, pooled)
            of_kept = _of_kept(tower, encoded, part.mask)
        parts.append((states, pooled, of_kept))
        counts.append(encoded.counts)
        if not last:
            named = kept.source[done - 1 :].flatten()
            memory = run.remembered(named if later is None else torch.cat([named, later]))
            memory = replace(memory, pooled=None if pooled is None else pooled[-1:].clone())
    states = {name: torch.cat([part[0][name] for part in parts]) for name in parts[0][0]}
    pools = [part[1] for part in parts if part[1] is not None]
    pooled = torch.cat(pools) if pools else None
    of_kept = torch.cat([part[2] for part in parts])
    return ClipOutput(states, pooled, of_kept, counts, memory)


def _runs(tower: Tower, fidelity: Fidelity, kept: Kept) -> Iterator[Kept]:
    """Cuts the frames into runs of at most ``_ROWS`` rows (one frame may have more). A turn begins
    a run.
    """
    frames, n = kept.mask.shape
    each = tower.tokens_per_cell
    given, counts = torch.stack([kept.given.sum(1), kept.mask.sum(1)]).tolist()
    watched = fidelity.watches(0) or fidelity.repositions or fidelity.refresh is not None
    most = max(1, _TOKENS // (tower.prefix + n * each)) if watched else frames
    first = patch = rows = patches = 0
    turns = {turn.frame: turn for turn in kept.turns}

    def run(end: int) -> Kept:
        part, own = slice(first, end), slice(patch, patch + patches)
        masks = kept.mask[part], kept.source[part], kept.given[part]
        turned = (turns[first],) if first in turns else ()
        return Kept(kept.patches[own], *masks, sum(counts[part]), turned)

    for t, cells in enumerate(given):
        length = cells * each + tower.prefix if cells else 0
        full = rows + length > _ROWS or t - first == most
        if t > first and (full or t in turns):
            yield run(t)
            first, patch, rows, patches = t, patch + patches, 0, 0
        rows, patches = rows + length, patches + cells * each
    yield run(frames)


def _shown(
    tower: Tower, encoded: Encoded, before: Tensor | None
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Returns every state of every token, and the pooled output of every frame ``[T, D]``.

    ``before`` ``[1, D]`` is the pooled output of the last frame before that computed anything.
    """
    states = {
        name: _ops.expand(table.rows, table.shown)
        for name, table in encoded.tables.items()
        if name != "pool" and not name.startswith("tap_")
    }
    if tower.tapped:
        taps = [_ops.expand(*encoded.tables[f"tap_{layer}"]) for layer in tower.tapped]
        states["features"] = torch.cat([states["features"], *taps], 2)
    return states, pooling.pooled(tower, encoded, before, states["features"])


def _of_kept(tower: Tower, encoded: Encoded, mask: Tensor) -> Tensor:
    """Returns the features of the kept cells, ``[K, E]``."""
    names = ["features", *(f"tap_{layer}" for layer in tower.tapped)]
    tables = [encoded.tables[name] for name in names]
    return torch.cat([rows[shown[:, tower.prefix :][mask]] for rows, shown in tables], 1)


def joined_states(parts: list[ClipOutput]) -> tuple[dict[str, Tensor], Tensor | None]:
    """Joins the states of all clips, one clip after the other."""
    states = {name: torch.cat([part.states[name] for part in parts]) for name in parts[0].states}
    pooled = [part.pooled for part in parts if part.pooled is not None]
    return states, torch.cat(pooled) if pooled else None
