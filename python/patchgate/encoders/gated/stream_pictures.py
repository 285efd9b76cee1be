"""Finds what is wrong in the pictures of a tower stream's state that may return.

Letters: N cells, m merge side, M = prefix + N * m^2 tokens of a frame, r remembered rows.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from patchgate.encoders.run.memory import LayerMemory, Memory
from patchgate.encoders.tower import Tower


def wrong_rows(part: LayerMemory, r: int) -> str | None:
    """Checks that slots and pictures show all r rows of a layer's tables, and no others."""
    shown = [part.row]
    for each in part.pictures:
        if each is None:
            continue
        if each.row.dtype != torch.int64 or each.row.dim() != 1 or not len(each.row):
            return f"expected row of a picture [M] of int64, got {list(each.row.shape)}"
        low, high = int(each.row.min()), int(each.row.max())
        if not 0 <= low <= high < r:
            return f"expected rows of tables of {r} in pictures, got {low}..{high}"
        shown.append(each.row)
    seen = len(torch.cat(shown).unique())
    if part.tables and seen != r:
        return f"expected each of {r} rows in a slot or a picture, got {seen} of them"
    return None


def wrong_pictures(memory: Memory, gate: Mapping[str, Tensor], tower: Tower) -> str | None:
    """Checks that all parts remember the same pictures, which are the gate's."""
    numbers = gate.get("memory_numbers")  # [1, places, 2]
    places = [] if numbers is None else (numbers[0, :, 0] >= 0).nonzero().flatten().tolist()
    each = tower.tokens_per_cell
    units, tokens = tower.prefix + tower.cells, tower.prefix + tower.cells * each
    parts = [(layer, tokens) for layer in memory.layers]
    parts += [(output, units) for output in memory.outputs.values()]
    found = [memory.pictures, *(part.pictures for part, _ in parts)]
    if any([i for i, one in enumerate(own) if one is not None] != places for own in found):
        return f"expected the gate's pictures, {places}, in every layer and output"
    for part, count in parts:
        if any(one is not None and len(one.row) != count for one in part.pictures):
            return f"expected pictures of {count} rows"
    for own in memory.pictures:
        if own is None:
            continue
        source, pooled = own
        if source.dtype != torch.int64 or list(source.shape) != [tower.cells]:
            return f"expected the source of a picture [{tower.cells}] of int64"
        if not 0 <= int(source.min()) <= int(source.max()) < memory.emitted:
            return f"expected sources of pictures below {memory.emitted}"
        now = memory.pooled
        wrong = (pooled is None) != (now is None)
        if pooled is not None and now is not None:
            wrong = pooled.shape != now.shape or pooled.dtype != now.dtype
        if wrong:
            return "expected pooled of a picture as that of the last frame"
    remembered = gate.get("memory_tokens")
    if remembered is not None:
        ids = remembered[remembered >= 0].to(memory.ids.device)
        if not bool(torch.isin(ids, memory.ids).all()):
            return "expected the tokens of the gate's pictures among ids"
    return None
