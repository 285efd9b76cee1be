"""Takes some frames through a tower, all together, layer by layer.

With ``context="kept"``, kept cells attend to kept cells of their own frame. With ``"full"``
(residual attention), they attend to all cells of it: cells that were not kept give the keys and
values that were computed for them before. With a ``tolerance``, still tokens become active if their
attention output moved: see ``waking``.

A cell is m^2 tokens (Qwen-VL: four) and one row of features; a prefix token is one of each.

Letters: T frames, f frames of a tubelet, N cells, m merge side, M = prefix + N * m^2 tokens of a
frame, A active tokens of all frames, S remembered slots, I remembered sources, K kept cells, r
remembered rows, H heads, d features of a head, D features, C channels, P patch side.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.encoders.run import leaving
from patchgate.encoders.run.attention import Groups, Segments, members
from patchgate.encoders.run.entering import embedded, entering, needs_earlier
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.memory import LayerMemory, Memory, Sums, made_with
from patchgate.encoders.run.packed import Counts, Encoded, Kept, Table
from patchgate.encoders.run.pooling import STATES, Wanted
from patchgate.encoders.run.slots import Slots
from patchgate.encoders.run.together import Attend, Rowwise, Steps, key_of
from patchgate.encoders.run.waking import Scan
from patchgate.encoders.tower import Tower


class _Layer(NamedTuple):
    """A layer's tables, remembered rows first, and which row each slot of the run shows."""

    tables: dict[str, Tensor]  # name -> [r + A, ...]
    shown: Tensor  # [T, M] int64
    sums: Sums | None

    def kept(self, earlier: LayerMemory, slots: Tensor) -> LayerMemory:
        """Remembers the rows that some slots show."""
        row = torch.cat([earlier.row, self.shown.flatten()])[slots]
        return LayerMemory.of(self.tables, row, self.sums, earlier.pictures)


@dataclass
class Run:
    """One run: take ``steps`` once, then ``remembered``, which returns the next run's memory.

    ``wanted`` says what is made of the states: all of them are shown, or vectors of frames. After
    the ``last`` run of a clip nothing follows, and ``remembered`` must not be called.
    """

    tower: Tower
    fidelity: Fidelity
    memory: Memory
    kept: Kept
    wanted: Wanted = STATES
    last: bool = False

    def __post_init__(self) -> None:
        mask, source = self.kept.mask, self.kept.source
        before = source[:1] if self.memory.source is None else self.memory.source[None]
        self._moved = ~mask & (source != torch.cat([before, source[:-1]]))  # [T, N]
        each = self.tower.tokens_per_cell
        index, ids = self.memory.index_of(source), len(self.memory.ids)
        new = self.kept.number
        prefix = self.tower.prefix
        self._units = self._slots = Slots.of(index, self._moved, prefix, ids, new)
        self._source = self._tokens_of(index)  # [T, N * m^2]
        if each > 1:
            moved = self._moved.repeat_interleave(each, 1)
            self._slots = Slots.of(self._source, moved, prefix, ids * each, new * each)
        self._layers: deque[_Layer] = deque(maxlen=0 if self.last else None)
        self._reaches: tuple[Tensor, ...] = ()
        self._outputs: dict[str, _Layer] = {}
        self._tokens: list[int] = []
        self._pairs: list[int] = []

    def steps(self, hidden: list[int]) -> Steps[Encoded]:
        """Computes the frames' features, and the hidden states whose numbers are in ``hidden``."""
        active = self._entering()
        x, patches = yield from self._embedded(active)
        tables: dict[str, Table] = {}
        made: Tensor | None = None  # [A, H, d]: the attention outputs from which x was computed
        for layer in range(self.tower.computed_layers + 1):
            known: dict[str, Tensor] = {} if made is None else {"made": made}
            if layer in hidden or needs_earlier(self.tower, self.fidelity, layer):
                known["x"] = x
            shown = self._join(layer, active, known)
            if layer in hidden:
                tables[f"hidden_{layer}"] = Table(known["x"], shown)
            if layer - 1 in self.tower.tapped:
                name, make = f"tap_{layer - 1}", partial(self.tower.tap, layer - 1)
                tables[name] = yield from self._output(name, make, active, x, known, shown)
            if layer == self.tower.computed_layers:
                break
            active, x, made = yield from self._through(layer, x, active, shown, known)
        make = partial(leaving.features, self.tower)
        tables["features"] = yield from self._output("features", make, active, x, known, shown)
        self._layers.append(_Layer(known, shown, None))
        features = self._outputs["features"]
        for name in features.tables.keys() - {"rows"}:
            tables[name] = Table(features.tables[name], features.shown)
        return Encoded(tables, Counts(active, self.kept.number, patches, self._tokens, self._pairs))

    def remembered(self, named: Tensor) -> Memory:
        """Returns the memory that the next run needs.

        Args:
            named: int64 ids of the tokens that the next run may name and of those that the last
                frame shows, in any order. Ids of tokens that do not exist yet may be among them.
        """
        emitted = self.memory.emitted + self.kept.number
        ids = named[named < emitted].unique()  # [I']
        index = self.memory.index_of(ids)
        tokens = self._tokens_of(index[None])[0]  # [I of the next run * m^2]
        slots, units = self._slots.remembered(tokens), self._units.remembered(index)
        before = self.memory.outputs
        return replace(
            self.memory,
            ids=ids,
            layers=tuple(
                known.kept(earlier, slots)
                for known, earlier in zip(self._layers, self.memory.layers, strict=True)
            ),
            outputs={
                name: known.kept(before.get(name, LayerMemory.empty(units.device)), units)
                for name, known in self._outputs.items()
            },
            emitted=emitted,
            frames=self.memory.frames + len(self.kept.mask),
            source=self.kept.source[-1].clone(),  # a view would hold all frames
            patches=self._patches()[tokens] if self.fidelity.embeds_again else None,
            made_with=made_with(self.tower),
        )

    # Tokens and their rows.

    def _entering(self) -> Tensor:
        """Returns which tokens enter the first layer, ``[T, M]`` bool."""
        return entering(self.tower, self.fidelity, self.kept, self._moved, self.memory.frames)

    def _by_rows(self, name: str, layer: int, make: Any, *inputs: Tensor) -> Steps[Any]:
        """Asks for a computation that treats each row by itself."""
        return (yield Rowwise(key_of(self.tower, name, layer), make, inputs))

    def _embedded(self, active: Tensor) -> Steps[tuple[Tensor, int]]:
        """Embeds the active tokens for the first layer, ``[A, D]``, and counts their patches."""
        rows = self.kept.patches
        if self.fidelity.embeds_again:
            rows = self._patches()[self._source[active[:, self.tower.prefix :]]]
        make, cells = partial(embedded, self.tower), self._cells(active)
        return (yield from self._by_rows("embed", 0, make, rows, cells)), len(rows)

    def _tokens_of(self, index: Tensor) -> Tensor:
        """Returns the tokens ``[T, n * m^2]`` of cells, both by their numbers ``[T, n]``."""
        each = self.tower.tokens_per_cell
        return (index[..., None] * each + arange(each, device=index.device)).flatten(1)

    def _patches(self) -> Tensor:
        """Returns the pixels of all sources, ``[(I + K) * m^2, C * f * P * P]``."""
        earlier, new = self.memory.patches, self.kept.patches
        return new if earlier is None else torch.cat([earlier, new])

    def _cells(self, active: Tensor) -> Tensor:
        """Returns the patch of each active token in its frame, ``[A]``; -1: a prefix token."""
        token = active.flatten().nonzero().flatten() % active.shape[1]
        return (token - self.tower.prefix).clamp(min=-1)

    # A layer.

    def _join(self, layer: int, active: Tensor, known: dict[str, Tensor]) -> Tensor:
        """Puts remembered rows before new ones; returns the row of every slot, ``[T, M]``."""
        kept = self.memory.layers[layer]
        for name, new in known.items():
            known[name] = kept.joined(name, new)
        return self._slots.rows(active, kept.row, kept.count)

    def _through(
        self, layer: int, x: Tensor, active: Tensor, shown: Tensor, known: dict[str, Tensor]
    ) -> Steps[tuple[Tensor, Tensor, Tensor | None]]:
        """Computes a layer: the tokens that are active after it, their states, their attention."""
        tower, scale = self.tower, self.tower.scale(layer)
        self._tokens.append(len(x))
        make, finish = partial(tower.qkv, layer), partial(tower.finish, layer)
        query, key, value = yield from self._by_rows("qkv", layer, make, x, self._cells(active))
        every = active
        active, mine = self.wanted.asking(tower, layer, every)
        if self.fidelity.context == "kept":
            segments = Segments.of(every, tower.windows(layer))
            self._pairs.append(sum(n * n for n in segments.lengths))
            self._layers.append(_Layer(known, shown, None))
            out = segments.attend(query, key, value, scale)[mine]
            return active, (yield from self._by_rows("finish", layer, finish, x[mine], out)), None
        query, x = query[mine], x[mine]
        watched = self.fidelity.watches(layer)
        if watched and query.dtype in (torch.float16, torch.bfloat16):
            query, key, value = query.float(), key.float(), value.float()
        kept = self.memory.layers[layer]
        groups = Groups.of(active, shown, tower.windows(layer))
        tables = kept.parts("key", key), kept.parts("value", value)
        step = Attend(key_of(tower, "attend", layer), groups, query, *tables, scale)
        out, lse, known["key"], known["value"] = yield step
        self._pairs.append(groups.pairs)
        if watched:
            known["query"] = kept.joined("query", query)
            active, x, out = self._watch(layer, active, shown, known, out, lse)
            x = yield from self._by_rows("finish", layer, finish, x, out.to(x.dtype))
            return active, x, out
        self._layers.append(_Layer(known, shown, None))
        return active, (yield from self._by_rows("finish", layer, finish, x, out)), None

    def _watch(
        self,
        layer: int,
        active: Tensor,
        shown: Tensor,
        known: dict[str, Tensor],
        out: Tensor,  # [A, H, d]
        lse: Tensor,  # [A, H]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Activates unchanged tokens, too, if their attention moved their states.

        Returns:
            The tokens that are active now, the states with which they enter, their attention.
        """
        kept, later = self.memory.layers[layer], self.memory.layers[layer + 1]
        self._reaches = self._reaches or self.tower.reaches(*out.shape[1:])
        scan = Scan(
            slots=self._slots,
            active=active,
            row=shown,
            query=known["query"],
            key=known["key"],
            value=known["value"],
            size=torch.linalg.vector_norm(known["x"].detach(), dim=1, dtype=out.dtype),
            reach=self._reaches[layer].to(out.dtype),
            scale=self.tower.scale(layer),
            out=out,
            lse=lse,
            windows=members(self.tower.windows(layer), active),
            before=kept.row,
            sums=kept.sums,
            made=later.tables["made"][later.row] if later.tables else out[:0],
        )
        fired = scan.run(self.fidelity.tolerance)
        self._pairs[-1] += fired.pairs
        self._layers.append(_Layer(known, shown, fired.sums))
        leaving = active | fired.mask
        rank = leaving.flatten().cumsum(0) - 1
        attended = out.new_empty((len(out) + len(fired.out), *out.shape[1:]))
        attended[rank[active.flatten()]] = out
        attended[rank[fired.mask.flatten()]] = fired.out
        return leaving, known["x"][shown[leaving]], attended

    # Leaving.

    def _output(
        self,
        name: str,
        make: Callable[[Tensor], Tensor],
        active: Tensor,  # [T, M]
        x: Tensor,  # [A, D]
        known: dict[str, Tensor],
        shown: Tensor,  # [T, M]
    ) -> Steps[Table]:
        """Makes features of the cells (and prefix tokens) that have an active token."""
        prefix, each = self.tower.prefix, self.tower.tokens_per_cell
        units = active
        if each > 1:
            whole = active[:, prefix:].unflatten(1, (-1, each)).any(2)  # [T, N]
            units = torch.cat([active[:, :prefix], whole], 1)
            if "x" in known:  # take all tokens of a cell, also those that are not active
                tokens = torch.cat([active[:, :prefix], whole.repeat_interleave(each, 1)], 1)
                x = known["x"][shown[tokens]]
        kept = self.memory.outputs.get(name, LayerMemory.empty(active.device))
        rows = yield from self._by_rows(name, 0, make, x)
        tables = {"rows": kept.joined("rows", rows)}
        if name == "features":
            first = self.memory.frames * units.shape[1]
            tables["born"] = kept.joined("born", units.flatten().nonzero() + first)
            entry = leaving.pool_entry(self.tower, rows)
            # Rows that were remembered while the head was wrapped have no entry for pooling.
            if entry is not None and (not kept.count or "pool" in kept.tables):
                tables["pool"] = kept.joined("pool", entry)
        place = self._units.rows(units, kept.row, kept.count)
        self._outputs[name] = _Layer(tables, place, None)
        return Table(tables["rows"], place)
