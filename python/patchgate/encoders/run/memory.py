"""What a stream remembers of earlier frames: for each layer, the rows that later frames may show.

Letters: N cells, M tokens of a frame, S remembered slots (see ``slots``), I remembered sources,
r remembered rows, A active tokens of this run, H heads, d features of a head, D features,
m merge side, C channels, f frames of a tubelet, P patch side.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from patchgate.encoders.tower import Tower


class Sums(NamedTuple):
    """Each token's attention in one layer as running sums, in which keys can be exchanged.

    They are the numerator and the denominator of a softmax, with scores relative to ``shift``.
    """

    weighted: Tensor  # [M, H, d] float32 or float64: the sum of weighted values
    total: Tensor  # [M, H]: the sum of weights
    shift: Tensor  # [M, H]: log of the sum of exponentials, when all keys were summed last
    age: Tensor  # [M] int64: exchanges since then


@dataclass(frozen=True)
class LayerMemory:
    """The rows of one layer's tables, and which of them each remembered slot shows."""

    row: Tensor  # [S] int64
    tables: dict[str, Tensor] = field(default_factory=dict)  # name -> [r, ...]
    sums: Sums | None = None  # those of the last frame

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
    def of(cls, tables: dict[str, Tensor], row: Tensor, sums: Sums | None) -> Self:
        """Remembers those rows of whole tables that the slots show.

        Args:
            row: ``[S]`` int64: the row that each slot shows.
        """
        keep, row = row.unique(return_inverse=True)
        return cls(row, {name: table[keep] for name, table in tables.items()}, sums)

    def detached(self) -> Self:
        tables = {name: table.detach() for name, table in self.tables.items()}
        sums = None if self.sums is None else Sums(*(part.detach() for part in self.sums))
        return replace(self, tables=tables, sums=sums)


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

    @classmethod
    def empty(cls, device: torch.device, depth: int) -> Self:
        """Makes the memory of a stream that has seen no frame, for a tower of ``depth`` layers."""
        none = torch.empty(0, dtype=torch.int64, device=device)
        return cls(none, (LayerMemory.empty(device),) * (depth + 1))

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
