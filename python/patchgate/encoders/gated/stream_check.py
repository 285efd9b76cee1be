"""Finds what is wrong in a tower stream's state, which may come from a file.

Letters: N cells, m merge side, M = prefix + N * m^2 tokens of a frame, I remembered sources,
r remembered rows, H heads, d features of a head, D features of a token, E features of a cell,
n numbers for pooling or of a tap.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.encoders.gated.stream_pictures import wrong_pictures, wrong_rows
from patchgate.encoders.run import leaving
from patchgate.encoders.run.entering import needs_earlier
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.memory import LayerMemory, Memory, Sums
from patchgate.encoders.tower import Tower
from patchgate.gate.memory import MOST_TOKENS

Shape = tuple[int, ...]

_MOST_ROWS = 2**53  # tokens of a stream of rows: without a gate, their ids may exceed 32 bits
_MOST_EXCHANGES = 64  # the most exchanges in a token's sums; then all keys are summed again
_NARROW = (torch.float16, torch.bfloat16, torch.float32)  # autocast makes one of another
_FLOATS = (*_NARROW, torch.float64)


class Rows(NamedTuple):
    """The tables of a layer, by name: the shape of a row of each."""

    needed: dict[str, Shape]
    optional: dict[str, Shape]
    sums: Shape | None  # (H, d) if the layer keeps sums


@dataclass
class Shapes:
    """The shapes of all that a stream can remember."""

    layers: list[Rows]  # depth + 1
    outputs: dict[str, Rows]
    patch: int  # the number of samples of a patch
    pooled: int | None  # D; None: the tower has no pooling

    @classmethod
    @torch.no_grad()
    def of(cls, tower: Tower, fidelity: Fidelity) -> Self:
        """Finds the shapes by running a black cell through the tower."""
        each, full = tower.tokens_per_cell, fidelity.context == "full"
        patch = 3 * tower.temporal_patch * tower.patch**2
        cell = arange(each, device=tower.weight.device)
        x = tower.embed(tower.weight.new_zeros((each, patch)), cell)  # [m^2, D]
        layers, made = [], None
        taps: dict[str, Tensor] = {}
        for layer in range(tower.computed_layers + 1):
            needed: dict[str, Shape] = {} if made is None else {"made": made}
            optional = {"x": _row(x)}
            if needs_earlier(tower, fidelity, layer):
                needed, optional = needed | optional, {}
            if layer - 1 in tower.tapped:
                taps[f"tap_{layer - 1}"] = tower.tap(layer - 1, x)
            watched = layer < tower.computed_layers and fidelity.watches(layer)
            sums = None
            if layer < tower.computed_layers:
                query, key, value = tower.qkv(layer, x, cell)  # [m^2, H, d] each
                if full:
                    needed |= {"key": _row(key), "value": _row(value)}
                if watched:
                    needed["query"] = _row(query)
                x, made = tower.finish(layer, x, torch.zeros_like(value)), None
                if watched:
                    sums = made = _row(value)
            layers.append(Rows(needed, optional, sums))
        features = leaving.features(tower, x)  # [1, E]
        entry = leaving.pool_entry(tower, features)  # [1, n]
        tables = {"rows": _row(features), "born": (1,)}
        if entry is not None:
            tables["pool"] = _row(entry)
        outputs = {name: Rows({"rows": _row(tap)}, {}, None) for name, tap in taps.items()}
        outputs["features"] = Rows(tables, {}, None)
        shown = torch.cat([features, *taps.values()], 1)  # [1, E]
        frame = (1, tower.prefix + tower.cells, -1)
        scores = None if entry is None else entry.expand(frame[1], -1)[None]
        pooled = leaving.pooled(tower, shown.expand(frame[1], -1)[None], scores, [0])
        return cls(layers, outputs, patch, None if pooled is None else pooled.shape[1])


def _row(rows: Tensor) -> Shape:
    return tuple(rows.shape[1:])


def contradiction(
    memory: Memory,
    gate: Mapping[str, Tensor],
    tower: Tower,
    fidelity: Fidelity,
    pooled: bool = True,
) -> str | None:
    """Says what is wrong in a stream's memory; None if nothing is. Synchronises.

    Args:
        memory: the memory.
        gate: the state of the stream's gate, checked already; empty if the stream had rows, not
            frames.
        tower: the tower for pictures of the memory's size.
        fidelity: the stream's settings.
        pooled: whether the stream pools, if its tower does; False: it only had features.
    """
    shapes = Shapes.of(tower, fidelity)
    if len(memory.layers) != len(shapes.layers) or memory.outputs.keys() != shapes.outputs.keys():
        return (
            f"expected {len(shapes.layers)} layers and outputs {sorted(shapes.outputs)}, got "
            f"{len(memory.layers)} and {sorted(memory.outputs)}"
        )
    wrong = _wrong_tokens(memory, tower, MOST_TOKENS if gate else _MOST_ROWS) or _wrong_pixels(
        memory, shapes, tower, fidelity
    )
    if wrong:
        return wrong
    i, each = len(memory.ids), tower.tokens_per_cell
    units, tokens = tower.prefix + tower.cells, tower.prefix + tower.cells * each
    parts = [(f"layer {n}", part, tokens + i * each) for n, part in enumerate(memory.layers)]
    parts += [(f"output {name}", part, units + i) for name, part in memory.outputs.items()]
    rows = [*shapes.layers, *(shapes.outputs[name] for name in memory.outputs)]
    for (name, part, slots), expected in zip(parts, rows, strict=True):
        wrong = _wrong_part(part, expected, slots) or _wrong_dtype(part, expected, tower)
        wrong = wrong or _wrong_sums(part, expected, tokens)
        for picture in part.pictures:
            if picture is not None and not wrong:
                wrong = _wrong_sums(replace(part, sums=picture.sums), expected, tokens)
        if wrong:
            return f"{name}: {wrong}"
    return (
        _wrong_attention(memory)
        or _wrong_births(memory, units)
        or _wrong_gate(memory, gate, shapes, pooled)
        or wrong_pictures(memory, gate, tower)
    )


def _wrong_tokens(memory: Memory, tower: Tower, most: int) -> str | None:
    """Checks the tokens that may still be named, and those that the last frame shows.

    Args:
        most: the most tokens that a stream may have.
    """
    ids, source = memory.ids, memory.source
    if not 0 < memory.emitted <= most or not 0 < memory.frames <= 2**53:
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
    """Checks the pixels of patches, and the pooled output."""
    patches = (len(memory.ids) * tower.tokens_per_cell, shapes.patch)
    expected = {
        "patches": patches if fidelity.embeds_again else None,
        "pooled": None if shapes.pooled is None else (1, shapes.pooled),
    }
    for name, shape in expected.items():
        came = getattr(memory, name)
        # A stream of rows has no pooled output.
        if came is None and (shape is None or name == "pooled"):
            continue
        if came is None or came.dtype not in _FLOATS or tuple(came.shape) != shape:
            got = None if came is None else f"{list(came.shape)} {came.dtype}"
            return f"expected {name} {shape} of floats, got {got}"
    return None


def _wrong_part(part: LayerMemory, expected: Rows, slots: int) -> str | None:
    """Checks the tables of a layer, and which of their rows the slots show."""
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
    if wrong := wrong_rows(part, r):
        return wrong
    return None


def _wrong_dtype(part: LayerMemory, expected: Rows, tower: Tower) -> str | None:
    """Checks that the tower can make tables of these dtypes, with autocast or without."""
    own = tower.weight.dtype
    allowed = (own,) if own == torch.float64 else _NARROW
    for name, table in part.tables.items():
        if name != "born" and table.dtype not in allowed:
            return f"expected table {name} of a tower of {own}, got {table.dtype}"
    attended = {name: part.tables[name].dtype for name in ("query", "key", "value")
                if name in expected.needed}  # fmt: skip
    if len(set(attended.values())) > 1:
        return f"expected queries, keys and values of one dtype, got {attended}"
    return None


def _wrong_attention(memory: Memory) -> str | None:
    """Checks what a layer remembers of the attention in the one before it."""
    for layer, later in zip(memory.layers, memory.layers[1:], strict=False):
        if "made" not in later.tables:
            continue
        query, made = layer.tables["query"].dtype, later.tables["made"].dtype
        if made != query:
            return f"expected attention of {query}, the dtype of its queries, got {made}"
    return None


def _wrong_births(memory: Memory, units: int) -> str | None:
    """Checks that no two features were computed at one place of one frame."""
    born = memory.outputs["features"].tables["born"]
    if bool(((born < 0) | (born >= memory.frames * units)).any()):
        return (
            f"expected features that were computed in {memory.frames} frames of {units} places, "
            "got others"
        )
    if len(born.unique()) != len(born):
        return "expected no two features that were computed at one place of one frame"
    return None


def _wrong_sums(part: LayerMemory, expected: Rows, tokens: int) -> str | None:
    """Checks the running sums of all tokens of the last frame."""
    if part.sums is None or expected.sums is None:
        watched = "expected sums in a layer that watches tokens, and in no other"
        return None if part.sums is expected.sums else watched
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


def _wrong_gate(
    memory: Memory, gate: Mapping[str, Tensor], shapes: Shapes, pooled: bool
) -> str | None:
    """Compares the gate's state with the tower's."""
    if memory.pooled is not None and not (gate and pooled):
        return "expected pooled only of a stream of frames that pools"
    if not gate:
        return None
    if pooled and shapes.pooled is not None and memory.pooled is None:
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
