"""What a stream remembers of earlier frames: for each layer, the rows that later frames may show.

Letters: N cells, M tokens of a frame, S remembered slots (see ``slots``), I remembered sources,
r remembered rows, A active tokens of this run, H heads, d features of a head, D features,
m merge side, C channels, f frames of a tubelet, P patch side.
"""

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from patchgate.encoders.tower import Tower
from patchgate.gate.longterm.turns import Turn


class Sums(NamedTuple):
    """Each token's attention in one layer as running sums, in which keys can be exchanged.

    They are the numerator and the denominator of a softmax, with scores relative to ``shift``.
    """

    weighted: Tensor  # [M, H, d] float32 or float64: the sum of weighted values
    total: Tensor  # [M, H]: the sum of weights
    shift: Tensor  # [M, H]: log of the sum of exponentials, when all keys were summed last
    age: Tensor  # [M] int64: exchanges since then


class LayerPicture(NamedTuple):
    """What one layer remembers of a picture that may return: that of its last frame."""

    row: Tensor  # [M] int64: the row of the layer's tables that each token shows
    sums: Sums | None


@dataclass(frozen=True)
class LayerMemory:
    """The rows of one layer's tables, and which of them each remembered slot shows."""

    row: Tensor  # [S] int64
    tables: dict[str, Tensor] = field(default_factory=dict)  # name -> [r, ...]
    sums: Sums | None = None  # those of the last frame
    pictures: tuple[LayerPicture | None, ...] = ()  # those that the gate remembers, by its places

    @classmethod
    def empty(cls, device: torch.device) -> Self:
        """Makes the memory of a stream that has seen no frame."""
        return cls(torch.empty(0, dtype=torch.int64, device=device))

    @property
    def count(self) -> int:
        """The number of remembered rows, r."""
        return len(next(iter(self.tables.values()))) if self.tables else 0

    def joined(self, name: str, new: Tensor) -> Tensor:
        """Returns a table with the rows of this run behind the remembered ones, ``[r + A, ...]``.

        Args:
            new: ``[A, ...]``.
        """
        parts = self.parts(name, new)
        return torch.cat(parts) if len(parts) > 1 else new

    def parts(self, name: str, new: Tensor) -> list[Tensor]:
        """Returns what ``joined`` joins."""
        if name not in self.tables:
            return [new]
        return [self.tables[name].to(new.dtype), new]  # autocast may have changed

    @classmethod
    def of(
        cls,
        tables: dict[str, Tensor],
        row: Tensor,
        sums: Sums | None,
        pictures: tuple[LayerPicture | None, ...] = (),
    ) -> Self:
        """Remembers those rows of whole tables that the slots and the pictures show.

        Args:
            row: ``[S]`` int64: the row that each slot shows.
        """
        rows = [row, *(each.row for each in pictures if each is not None)]
        keep, every = torch.cat(rows).unique(return_inverse=True)
        row, *others = every.split([len(each) for each in rows])
        left = iter(others)
        pictures = tuple(
            None if each is None else each._replace(row=next(left)) for each in pictures
        )
        return cls(row, {name: table[keep] for name, table in tables.items()}, sums, pictures)

    def turned(self, turn: Turn, tokens: int) -> Self:
        """Goes on from another picture, and keeps the one at hand: see ``Memory.turned``."""
        pictures, row, sums = list(self.pictures), self.row, self.sums
        last = LayerPicture(row[:tokens], sums)
        if turn.base and (base := pictures[turn.base - 1]) is not None:
            row, sums = torch.cat([base.row, row[tokens:]]), base.sums
        _keep(pictures, turn, last)
        return replace(self, row=row, sums=sums, pictures=tuple(pictures))

    def detached(self) -> Self:
        tables = {name: table.detach() for name, table in self.tables.items()}
        pictures = tuple(
            None if each is None else each._replace(sums=_detached(each.sums))
            for each in self.pictures
        )
        return replace(self, tables=tables, sums=_detached(self.sums), pictures=pictures)


def _detached(sums: Sums | None) -> Sums | None:
    return None if sums is None else Sums(*(part.detach() for part in sums))


def _keep(pictures: list[Any], turn: Turn, last: Any) -> None:
    """Puts the last picture in its place among those that may return."""
    if turn.kept:
        pictures += [None] * (turn.kept - len(pictures))
        pictures[turn.kept - 1] = last


class Shown(NamedTuple):
    """What is remembered of a picture that may return, besides the rows of layers."""

    source: Tensor  # [N] int64
    pooled: Tensor | None  # [1, D]


class MadeWith(NamedTuple):
    """The tower as it was when a state was made."""

    dtype: torch.dtype
    device: torch.device
    prefix: int
    cells: int


def made_with(tower: Tower) -> MadeWith:
    """Describes the tower as it is now."""
    return MadeWith(tower.weight.dtype, tower.weight.device, tower.prefix, tower.cells)


@dataclass(frozen=True)
class Memory:
    """All that is remembered between two runs of a stream.

    Its size is bounded by the picture, not by the video.
    """

    ids: Tensor  # [I] int64, ascending: sources that may still be named, by the ids of tokens
    layers: tuple[LayerMemory, ...]  # depth + 1: the input of each layer, the output of the last
    outputs: dict[str, LayerMemory] = field(default_factory=dict)  # features, by cells
    emitted: int = 0  # the number of tokens so far, which is the id of the next one
    frames: int = 0  # the number of frames so far
    source: Tensor | None = None  # [N] int64, that of the last frame
    # [I * m^2, C * f * P * P], the pixels of the sources, if these may be embedded again.
    patches: Tensor | None = None
    pooled: Tensor | None = None  # [1, D], that of the last frame that computed anything
    made_with: MadeWith | None = None
    pictures: tuple[Shown | None, ...] = ()  # those that the gate remembers, by its places

    @classmethod
    def empty(cls, device: torch.device, depth: int) -> Self:
        """Makes the memory of a stream that has seen no frame, for a tower of ``depth`` layers."""
        none = torch.empty(0, dtype=torch.int64, device=device)
        return cls(none, (LayerMemory.empty(device),) * (depth + 1))

    def turned(self, turn: Turn, tower: Tower) -> Self:
        """Returns the memory with which the frame of a turn is encoded.

        The picture of the frame before is kept if the gate keeps it. If a remembered picture
        returns, its frame takes the place of the frame before: what it showed, its sums, its pooled
        output.
        """
        if self.source is None or not (turn.base or turn.kept):
            return self
        units = tower.prefix + tower.cells
        tokens = tower.prefix + tower.cells * tower.tokens_per_cell
        pictures, source, pooled = list(self.pictures), self.source, self.pooled
        last = Shown(source, pooled)
        if turn.base and (base := pictures[turn.base - 1]) is not None:
            source, pooled = base
        _keep(pictures, turn, last)
        return replace(
            self,
            layers=tuple(layer.turned(turn, tokens) for layer in self.layers),
            outputs={name: output.turned(turn, units) for name, output in self.outputs.items()},
            source=source,
            pooled=pooled,
            pictures=tuple(pictures),
        )

    def index_of(self, ids: Tensor) -> Tensor:
        """Numbers tokens: remembered ones first, in order of their ids, then new ones."""
        new = ids - self.emitted
        return torch.where(new >= 0, new + len(self.ids), torch.searchsorted(self.ids, ids))

    def check_known(self, name: str, ids: Tensor) -> None:
        """Raises if a token of earlier calls is not remembered any more."""
        old = ids[ids < self.emitted].unique()
        lost = old[~torch.isin(old, self.ids)]
        if len(lost):
            raise ValueError(
                f"{name}: token {int(lost[0])} is not remembered: a token that a later call may "
                "name must be shown by the last frame or be among its names="
            )

    def detached(self) -> Self:
        """Returns the same memory without the graph of gradients that made it."""
        return replace(
            self,
            pooled=None if self.pooled is None else self.pooled.detach(),
            patches=None if self.patches is None else self.patches.detach(),
            pictures=tuple(
                each
                if each is None or each.pooled is None
                else each._replace(pooled=each.pooled.detach())
                for each in self.pictures
            ),
            layers=tuple(layer.detached() for layer in self.layers),
            outputs={name: output.detached() for name, output in self.outputs.items()},
        )

    def check_same(self, tower: Tower, hidden: list[int]) -> None:
        """Raises if a call that wants these hidden states cannot go on from the one before."""
        if self.made_with is None:
            return
        if self.made_with != made_with(tower):
            raise ValueError(
                f"stream: its state was made with {self.made_with}, the tower is now "
                f"{made_with(tower)}; reset() it"
            )
        missing = [f"hidden_{i}" for i in hidden if "x" not in self.layers[i].tables]
        if missing:
            raise ValueError(
                f"stream: earlier calls did not ask for {', '.join(missing)}; ask for the same "
                "hidden states in every call since reset()"
            )
