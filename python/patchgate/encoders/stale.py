"""Whether a token that stands still has changed its meaning: the closed loop inside a layer.

A stale token's attention output changes only by the keys that changed. From its softmax as running
sums the old ones are taken out and the new ones put in, exactly:
``o_new = (total * o - sum_old + sum_new) / total_new``. Where the output has moved by more than the
tolerance from the one that the token's state was made with, the token becomes active. That scan is
all that is sequential in time: activation acts on later layers, never on this layer's attention.

Letters: T frames, M tokens of a frame, S remembered slots, r rows of a layer's tables, n stale
tokens, m members of a window, c exchanged keys, H heads, d features of a head.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate import _ops
from patchgate.encoders.memory import Sums
from patchgate.encoders.slots import Slots

_LEAST = 0.05  # of the denominator: below it what is left is mostly rounding
_MOST = 1e4
_AGE = 64  # exchanges before sums are taken anew: rounding must not gather


class Fired(NamedTuple):
    """The stale tokens that became active in a layer."""

    mask: Tensor  # [T, M] bool
    out: Tensor  # [n, H, d]: their attention outputs, in order
    sums: Sums  # of the last frame, of all tokens
    pairs: int  # queries times keys that were computed for stale tokens


@dataclass
class Scan:
    """One layer of a run, all of whose active tokens have attended already."""

    slots: Slots
    active: Tensor  # [T, M] bool
    row: Tensor  # [T, M] int64: of the tables below
    query: Tensor  # [r, H, d]
    key: Tensor  # [r, H, d]
    value: Tensor  # [r, H, d]
    scale: float
    out: Tensor  # [A, H, d]: of the active tokens, in order
    lse: Tensor  # [A, H]
    windows: list[Tensor]  # [m] int64 each: its tokens; one window of all M if there are none
    before: Tensor  # [S] int64: rows of the remembered slots
    sums: Sums | None  # of the frame before the run
    made: Tensor  # [S, H, d]: what the remembered slots' next states were made with

    def run(self, tolerance: float) -> Fired:
        """Frame after frame. ``tolerance``: relative, of the norm over all heads."""
        frames, m = self.active.shape
        earlier = self.slots.earlier
        reference = self.out.new_empty((earlier + frames * m, *self.out.shape[1:]))
        reference[:earlier] = self.made
        mask, outs, pairs = torch.zeros_like(self.active), [], 0
        sums, taken = self.sums, 0
        for t in range(frames):
            here = earlier + t * m
            parent = self.slots.parent[t]
            column = parent - (here - m if t else 0)  # in the frame before
            strange = (column < 0) | (column >= m)  # inherited from an older frame
            now = self._carried(sums, column.clamp(0, m - 1))
            reference[here : here + m] = reference[parent.clamp(max=here - 1)] if here else 0
            own = self.active[t].nonzero().flatten()
            out = self.out[taken : taken + len(own)]
            lse = self.lse[taken : taken + len(own)]
            now.put(own, _summed(out, lse))
            reference[here + own] = out
            taken += len(own)
            stale, cost = self._exchange(t, now, strange)
            sums, pairs = now, pairs + cost
            if not len(stale):
                continue
            moved = now.weighted[stale] / now.total[stale][..., None]  # [n, H, d]
            known = reference[here + stale]
            far = (moved - known).flatten(1).norm(dim=1) > tolerance * known.flatten(1).norm(dim=1)
            fired = stale[far]
            mask[t, fired] = True
            reference[here + fired] = moved[far]
            outs.append(moved[far])
        assert sums is not None
        empty = self.out.new_empty((0, *self.out.shape[1:]))
        return Fired(mask, torch.cat([empty, *outs]), sums, pairs)

    def _carried(self, sums: Sums | None, column: Tensor) -> Sums:
        if sums is not None:
            return sums.at(column)
        (_, heads, width), m = self.out.shape, len(column)  # the first frame: all are active
        return Sums(
            self.out.new_zeros((m, heads, width)),
            self.lse.new_zeros((m, heads)),
            self.lse.new_zeros((m, heads)),
            column.new_zeros(m),
        )

    def _exchange(self, t: int, now: Sums, strange: Tensor) -> tuple[Tensor, int]:
        """Brings the sums of frame t's stale tokens up to date.

        Returns:
            The stale tokens whose keys changed ``[n]``, and what they cost.
        """
        row, last = self.row[t], self.row[t - 1] if t else self.before[: self.row.shape[1]]
        touched, pairs = [], 0
        for members in self.windows:
            stale = members[~self.active[t, members]]
            if not len(stale):
                continue
            changed, weight = _exchanged(last[members], row[members])
            anew = strange[stale]
            if len(changed) >= len(members):
                anew = torch.ones_like(anew)
            elif len(changed):
                self._replace(now, stale, row, changed, weight)
                pairs += len(stale) * len(changed)
                total, age = now.total[stale], now.age[stale]
                bounded = ((total > _LEAST) & (total < _MOST)).all(1)
                anew = anew | ~bounded | (age >= _AGE)
            elif not bool(anew.any()):
                continue
            again = stale[anew]
            if len(again):
                now.put(again, self._full(row, again, members))
                pairs += len(again) * len(members)
            touched.append(stale)
        nothing = row.new_empty(0)
        return torch.cat([nothing, *touched]).sort().values, pairs

    def _replace(
        self, now: Sums, stale: Tensor, row: Tensor, changed: Tensor, weight: Tensor
    ) -> None:
        """Takes out old keys and puts in new ones: rows ``[c]``, so many times each."""
        part = now.at(stale)
        query, key, value = self.query[row[stale]], self.key[changed], self.value[changed]
        scores = torch.einsum("nhd,chd->hnc", query, key) * self.scale  # [H, n, c]
        # Far above the shift the sums are taken anew anyway; infinity must not meet infinity.
        factor = (scores - part.shift.T[..., None]).clamp(max=80).exp() * weight
        weighted = part.weighted + torch.einsum("hnc,chd->nhd", factor, value)
        now.put(stale, Sums(weighted, part.total + factor.sum(2).T, part.shift, part.age + 1))

    def _full(self, row: Tensor, tokens: Tensor, members: Tensor) -> Sums:
        def ends(length: int) -> Tensor:
            return torch.tensor([0, length], dtype=torch.int32, device=row.device)

        query = self.query[row[tokens]]
        out, lse = _ops.residual_attention(
            query, self.key, self.value, ends(len(tokens)), row[members], ends(len(members)),
            None, self.scale,
        )  # fmt: skip
        return _summed(out, lse)


def _summed(out: Tensor, lse: Tensor) -> Sums:
    """Sums of finished softmaxes: relative to their own denominators."""
    age = torch.zeros(len(out), dtype=torch.int64, device=out.device)
    return Sums(out, torch.ones_like(lse), lse, age)


def _exchanged(old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """Rows that occur more or less often than before ``[c]``, and by how much ``[c]``."""
    size = int(torch.maximum(old.max(), new.max())) + 1
    difference = new.bincount(minlength=size) - old.bincount(minlength=size)
    changed = difference.nonzero().flatten()
    return changed, difference[changed]
