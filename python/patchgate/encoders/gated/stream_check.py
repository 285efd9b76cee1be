"""What a tower stream's state may be: the one place that knows, for states that come from files.

Letters: N cells, m merge side, M = prefix + N * m^2 tokens of a frame, I remembered tokens, r rows,
H heads, d features of a head, D features, E numbers of a patch or a token.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.memory import LayerMemory, Memory, Sums
from patchgate.encoders.run.run import needs_earlier
from patchgate.encoders.tower import Tower
from patchgate.gate.memory import MOST_TOKENS

Shape = tuple[int, ...]

_MOST_EXCHANGES = 64  # of a token's sums, after which they are taken anew


class Rows(NamedTuple):
    """The tables of a layer, by name: the shape of a row of each."""

    needed: dict[str, Shape]
    optional: dict[str, Shape]
    sums: Shape | None  # (H, d), where sums are kept


@dataclass
class Shapes:
    """What a tower makes of one cell, which tells the shapes of all that can be remembered."""

    layers: list[Rows]  # depth + 1
    outputs: dict[str, Rows]
    patch: int  # E: numbers of a patch
    pooled: int | None  # D; None: the tower has no pooling

    @classmethod
    @torch.no_grad()
    def of(cls, tower: Tower, fidelity: Fidelity) -> Self:
        """Runs a black cell through the tower."""
        each, full = tower.tokens_per_cell, fidelity.context == "full"
        patch = 3 * tower.temporal_patch * tower.patch**2
        cell = arange(each, device=tower.weight.device)
        x = tower.embed(tower.weight.new_zeros((each, patch)), cell)  # [m^2, D]
        layers, made = [], None
        taps: dict[str, Tensor] = {}
        for layer in range(tower.depth + 1):
            needed: dict[str, Shape] = {} if made is None else {"made": made}
            optional = {"x": _row(x)}
            if needs_earlier(tower, fidelity, layer):
                needed, optional = needed | optional, {}
            if layer - 1 in tower.tapped:
                taps[f"tap_{layer - 1}"] = tower.tap(layer - 1, x)
            watched = layer < tower.depth and fidelity.watches(layer)
            sums = None
            if layer < tower.depth:
                query, key, value = tower.qkv(layer, x, cell)  # [m^2, H, d] each
                if full:
                    needed |= {"key": _row(key), "value": _row(value)}
                if watched:
                    needed["query"] = _row(query)
                x, made = tower.finish(layer, x, torch.zeros_like(value)), None
                if watched:
                    sums = made = _row(value)
            layers.append(Rows(needed, optional, sums))
        features = tower.leave(x)  # [1, E]
        entry = tower.pool_entry(features)  # [1, E]
        tables = {"rows": _row(features), "born": (1,)}
        if entry is not None:
            tables["pool"] = _row(entry)
        outputs = {name: Rows({"rows": _row(tap)}, {}, None) for name, tap in taps.items()}
        outputs["features"] = Rows(tables, {}, None)
        shown = torch.cat([features, *taps.values()], 1)  # [1, E]
        frame = (1, tower.prefix + tower.cells, -1)
        scores = None if entry is None else entry.expand(frame[1], -1)[None]
        pooled = tower.pool(shown.expand(frame[1], -1)[None], scores, [0])
        return cls(layers, outputs, patch, None if pooled is None else pooled.shape[1])


def _row(rows: Tensor) -> Shape:
    return tuple(rows.shape[1:])


def contradiction(
    memory: Memory, gate: Mapping[str, Tensor], tower: Tower, fidelity: Fidelity
) -> str | None:
    """What of a stream's memory cannot be, in words; None if all can. Synchronises.

    Args:
        gate: the state of the stream's gate, checked; empty: it had rows, not frames.
        tower: for pictures of the memory's size.
    """
    shapes = Shapes.of(tower, fidelity)
    if len(memory.layers) != len(shapes.layers) or memory.outputs.keys() != shapes.outputs.keys():
        return (
            f"expected {len(shapes.layers)} layers and outputs {sorted(shapes.outputs)}, got "
            f"{len(memory.layers)} and {sorted(memory.outputs)}"
        )
    wrong = _wrong_tokens(memory, tower) or _wrong_pixels(memory, shapes, tower, fidelity)
    if wrong:
        return wrong
    i, each = len(memory.ids), tower.tokens_per_cell
    units, tokens = tower.prefix + tower.cells, tower.prefix + tower.cells * each
    parts = [(f"layer {n}", part, tokens + i * each) for n, part in enumerate(memory.layers)]
    parts += [(f"output {name}", part, units + i) for name, part in memory.outputs.items()]
    rows = [*shapes.layers, *(shapes.outputs[name] for name in memory.outputs)]
    for (name, part, slots), expected in zip(parts, rows, strict=True):
        if wrong := _wrong_part(part, expected, slots) or _wrong_sums(part, expected, tokens):
            return f"{name}: {wrong}"
    for n, (part, later) in enumerate(pairwise(memory.layers)):
        if part.sums is not None and later.tables["made"].dtype != part.sums.weighted.dtype:
            return f"layer {n + 1}: expected table made of {part.sums.weighted.dtype}"
    born = memory.outputs["features"].tables["born"]
    if bool(((born < 0) | (born >= memory.frames * units)).any()):
        return f"expected features born in {memory.frames} frames of {units}, got others"
    return _wrong_gate(memory, gate, shapes)


def _wrong_tokens(memory: Memory, tower: Tower) -> str | None:
    """The tokens that may still be named, and those that the last frame shows."""
    ids, source = memory.ids, memory.source
    if not 0 < memory.emitted <= MOST_TOKENS or not 0 < memory.frames <= 2**53:
        return f"expected some tokens and frames, got {memory.emitted} and {memory.frames}"
    if ids.dtype != torch.int64 or ids.dim() != 1 or not len(ids):
        return f"expected ids [I] of int64, got {list(ids.shape)} {ids.dtype}"
    if bool((ids.diff() <= 0).any()) or not 0 <= int(ids[0]) <= int(ids[-1]) < memory.emitted:
        return f"expected ids that rise from 0 or more to less than {memory.emitted}"
    if source is None or source.dtype != torch.int64 or list(source.shape) != [tower.cells]:
        return f"expected source [{tower.cells}] of int64"
    if not bool(torch.isin(source, ids).all()):
        return "expected the sources of the last frame among ids"
    return None


def _wrong_pixels(memory: Memory, shapes: Shapes, tower: Tower, fidelity: Fidelity) -> str | None:
    """What is remembered of whole pictures and patches."""
    patches = (len(memory.ids) * tower.tokens_per_cell, shapes.patch)
    expected = {
        "patches": patches if fidelity.embeds_again else None,
        "pooled": None if shapes.pooled is None else (1, shapes.pooled),
    }
    for name, shape in expected.items():
        came = getattr(memory, name)
        if came is None and (shape is None or name == "pooled"):  # of rows there is none
            continue
        if came is None or not came.is_floating_point() or tuple(came.shape) != shape:
            got = None if came is None else f"{list(came.shape)} {came.dtype}"
            return f"expected {name} {shape} of floats, got {got}"
    return None


def _wrong_part(part: LayerMemory, expected: Rows, slots: int) -> str | None:
    """The tables of a layer, and the rows of them that so many slots show."""
    found = part.tables.keys()
    if not expected.needed.keys() <= found <= expected.needed.keys() | expected.optional.keys():
        return f"expected tables {sorted(expected.needed)}, got {sorted(found)}"
    if part.row.dtype != torch.int64 or list(part.row.shape) != [slots]:
        return f"expected row [{slots}] of int64, got {list(part.row.shape)} {part.row.dtype}"
    r = part.count if part.tables else slots
    for name, table in part.tables.items():
        shape = (r, *(expected.needed | expected.optional)[name])
        right = table.dtype == torch.int64 if name == "born" else table.is_floating_point()
        if not right or tuple(table.shape) != shape:
            return f"expected table {name} {list(shape)}, got {list(table.shape)} {table.dtype}"
    if not 0 <= int(part.row.min()) <= int(part.row.max()) < r:
        return f"expected rows of tables of {r}, got {int(part.row.min())}..{int(part.row.max())}"
    return None


def _wrong_sums(part: LayerMemory, expected: Rows, tokens: int) -> str | None:
    """The running sums of all tokens of the last frame."""
    if part.sums is None or expected.sums is None:
        return None if part.sums is expected.sums else "expected sums where tokens are watched only"
    heads, width = expected.sums
    shapes = Sums((tokens, heads, width), (tokens, heads), (tokens, heads), (tokens,))  # type: ignore[arg-type]
    dtype = part.tables["query"].dtype
    if dtype not in (torch.float32, torch.float64):
        return f"expected queries of float32 or float64, got {dtype}"
    for name, sums in part.sums._asdict().items():
        wanted = torch.int64 if name == "age" else dtype
        if sums.dtype != wanted or tuple(sums.shape) != getattr(shapes, name):
            return f"expected {name} {list(getattr(shapes, name))} of {wanted}"
    if not 0 <= int(part.sums.age.min()) <= int(part.sums.age.max()) <= _MOST_EXCHANGES:
        return f"expected 0..{_MOST_EXCHANGES} exchanges of a token"
    return None


def _wrong_gate(memory: Memory, gate: Mapping[str, Tensor], shapes: Shapes) -> str | None:
    """The gate's state against the tower's."""
    if not gate:
        return None
    if shapes.pooled is not None and memory.pooled is None:
        return "expected pooled of the last frame"
    clocks = gate["clock"].tolist()
    if clocks != [[memory.frames, memory.emitted]]:
        return (
            f"expected a gate of one stream that saw {memory.frames} frames and {memory.emitted} "
            f"tokens, got {clocks}"
        )
    if not torch.equal(gate["source"].flatten(), memory.source):  # type: ignore[arg-type]
        return "expected the gate's sources to be those of the tower"
    if not bool(torch.isin(gate["ids"].unique().long(), memory.ids).all()):
        return "expected the tokens of the gate's picture among ids"
    return None
