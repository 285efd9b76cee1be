"""The inputs and outputs of a run through a tower.

Letters: T frames, N cells, M tokens of a frame, m merge side, K kept cells, G given ones,
r remembered rows, A active tokens of all frames, E numbers of a patch or a token.
"""

from typing import NamedTuple

from torch import Tensor

from patchgate.gate.longterm.turns import Turn


class Kept(NamedTuple):
    """What the gate kept of some frames, and the pixels of the cells that are embedded."""

    patches: Tensor  # [G * m^2, E]: normalised pixels of the given cells, frame after frame
    mask: Tensor  # [T, N] bool: cells that were kept
    source: Tensor  # [T, N] int64: the token that explains each cell
    given: Tensor  # [T, N] bool: those whose pixels there are, the kept ones among them
    number: int  # K
    # The frames that a gate with memory calls turns, by their numbers
    turns: tuple[Turn, ...] = ()


class Table(NamedTuple):
    """A value of every token of every frame, ``rows[shown]``.

    Features, and what is made of them, have values of prefix tokens and cells.
    """

    rows: Tensor  # [r + A, ...]
    shown: Tensor  # [T, M] int64; of features [T, prefix + N]


class Counts(NamedTuple):
    """Counts of what one run computed, from which ``work`` is counted."""

    active: Tensor  # [T, M] bool: tokens that the last layer computed
    kept: int  # K
    embedded: int  # patches
    tokens: list[int]  # computed in each layer
    pairs: list[int]  # queries times keys in each layer


class Encoded(NamedTuple):
    """The output of one run."""

    # "features", perhaps "pool", "tap_<i>" and "hidden_<i>"; "born" [r + A, 1] int64: where each
    # row of the features was computed, frame * M + token, of frames since the state began
    tables: dict[str, Table]
    counts: Counts
