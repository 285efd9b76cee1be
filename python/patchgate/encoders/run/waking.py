"""Where a still token wakes: its attention output would move its state, so it becomes active.

A token is stale if it stands still while keys of its frame changed. Its attention output changes
only by those keys. The softmax is kept as running sums, from which the op ``exchange`` takes the
old keys and to which it adds the new ones, exactly. The output is compared with the one that the
token's state was made with. If the difference, as it is added to the state that enters the layer,
would move that state by more than the tolerance, the token becomes active: the later layers compute
it. How far each head moves a state is known beforehand (``encoders.reach``). Only this scan is
sequential in time: waking acts on later layers, never on this layer's attention.

Letters: T frames, M tokens of a frame, A active ones of all frames, S remembered slots,
r remembered rows, n stale tokens (or tokens of a window), W windows, H heads, d features of a head.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate import _ops, reference
from patchgate.encoders.run.exchanges import Exchanges, Inherited, by_frame
from patchgate.encoders.run.memory import Sums
from patchgate.encoders.run.slots import Slots

_AGE = 64  # exchanges before all keys are summed again, because rounding errors add up


class Fired(NamedTuple):
    """The stale tokens that became active in a layer."""

    mask: Tensor  # [T, M] bool
    out: Tensor  # [n, H, d]: their attention outputs, in order
    sums: Sums  # those of all tokens of the last frame
    pairs: int  # queries times keys that were computed for stale tokens


class _Present(NamedTuple):
    """All tokens of the frame that the scan has reached; its tensors are changed in place."""

    sums: Sums
    made: Tensor  # [M, H, d]: the attention outputs from which their next states are computed
    older: Tensor  # [S + saved, H, d]: those of remembered slots and of saved tokens


@dataclass
class Scan:
    """One layer of a run, in which all active tokens have attended already.

    If gradients are needed, keys are exchanged by the op's definition in plain torch, too. That has
    gradients and is slower; every value is the same.
    """

    slots: Slots
    active: Tensor  # [T, M] bool
    row: Tensor  # [T, M] int64: of the tables below
    query: Tensor  # [r, H, d]
    key: Tensor  # [r, H, d]
    value: Tensor  # [r, H, d]
    size: Tensor  # [r]: norms of the states that enter the layer
    reach: Tensor  # [H]: how far each head's output moves a state
    scale: float
    out: Tensor  # [A, H, d]: the attention outputs of the active tokens, in order
    lse: Tensor  # [A, H]
    windows: list[Tensor]  # [n] int64 each: its tokens; without windows, one of all M tokens
    before: Tensor  # [S] int64: rows of the remembered slots
    sums: Sums | None  # those of the frame before the run
    made: Tensor  # [S, H, d]: the outputs from which remembered slots' next states were computed

    def __post_init__(self) -> None:
        # No token's sums have had more exchanges: to look at all of them each time would take long.
        self._most = 0 if self.sums is None else int(self.sums.age.max())

    def run(self, tolerance: float) -> Fired:
        """Scans frame after frame.

        Args:
            tolerance: the share of its norm by which a token's state may move.
        """
        tokens = self.active.shape[1]
        inherited = Inherited.of(self.slots)
        before = self.before[:tokens] if self.slots.earlier else self.row[0]
        exchanges = Exchanges.of(
            self.active, self.row, before, self._window, inherited, self.out.dtype
        )
        now = self._first(sum(map(len, inherited.saved)))
        bound = (tolerance * self.size)[self.row]  # [T, M]
        fired, outs, pairs = [self.row.new_empty(0)], [self.out[:0]], exchanges.pairs
        taken, saved = 0, self.slots.earlier
        for t, own in enumerate(by_frame(self.active)):
            if self._can_be_skipped(t) and not len(inherited.saved[t]):
                taken += len(own)
                continue
            _inherit(now, inherited, t)
            if len(own):
                self._attended(now, own, slice(taken, taken + len(own)))
                taken += len(own)
            far, cost = self._exchange(t, exchanges, now, bound[t])
            pairs += cost
            if len(far):
                weighted = now.sums.weighted.index_select(0, far)  # [n, H, d]
                out = weighted / now.sums.total.index_select(0, far)[..., None]
                now.made.index_copy_(0, far, out.detach())
                fired.append(far + t * tokens)
                outs.append(out)
            later = inherited.saved[t]
            if len(later):
                now.older[saved : saved + len(later)] = now.made.index_select(0, later)
                saved += len(later)
        mask = self.active.new_zeros(self.active.numel())
        mask[torch.cat(fired)] = True
        return Fired(mask.view_as(self.active), torch.cat(outs), now.sums, pairs)

    def _can_be_skipped(self, t: int) -> bool:
        """Whether all tokens are active in frame t and the next, so that nobody needs its sums."""
        return self._whole[t : t + 2] == [True, True]

    @cached_property
    def _whole(self) -> list[bool]:
        return self.active.all(1).tolist()

    @cached_property
    def _window(self) -> Tensor:
        """The window of each token, ``[M]`` int64."""
        window = torch.empty_like(self.row[0])
        for w, members in enumerate(self.windows):
            window[members] = w
        return window

    def _first(self, saved: int) -> _Present:
        """Returns the state of the frame before the run, with room for the saved tokens."""
        (_, heads, width), tokens = self.out.shape, self.active.shape[1]
        made = self.made.detach()
        older = torch.cat([made, made.new_empty((saved, heads, width))]) if saved else made
        if self.sums is not None:  # copied, because the memory must stay as it is
            return _Present(
                Sums(*(part.clone() for part in self.sums)), made[:tokens].clone(), older
            )
        made = made.new_empty((tokens, heads, width))  # the first frame: all tokens are active
        age = torch.empty_like(self.row[0])
        lse = self.lse.new_empty((tokens, heads))
        return _Present(Sums(torch.empty_like(made), lse, lse.clone(), age), made, older)

    def _attended(self, now: _Present, own: Tensor, part: slice) -> None:
        """Takes over the attention of a frame's active tokens, ``part`` of all of them."""
        _put(now.sums, own, Sums(*(each[part] for each in self._finished)))
        now.made.index_copy_(0, own, self.out[part].detach())

    @cached_property
    def _finished(self) -> Sums:
        """The attention of all active tokens as sums, made at once."""
        return _summed(self.out, self.lse)

    @cached_property
    def _one(self) -> Tensor:
        return self.row.new_ones(1)

    def _exchange(
        self, t: int, exchanges: Exchanges, now: _Present, bound: Tensor
    ) -> tuple[Tensor, int]:
        """Updates the sums of frame t's stale tokens.

        Args:
            bound: ``[M]``: how far the state of each token may move.

        Returns:
            The tokens that moved by more, ascending ``[n]``, and what it cost beyond the exchanges'
            own pairs.
        """
        token, renewed = exchanges.token[t], exchanges.renewed[t]
        far = token
        if len(token):
            moved = self._exchanged(
                t, now, token, exchanges.cu_tokens[t],
                exchanges.changed[t], exchanges.weight[t], exchanges.cu_changed[t],
            )  # fmt: skip
            beyond = ~(moved <= bound.index_select(0, token))  # a NaN is, too
            old = self._aged(now, token)
            far = token[beyond if old is None else beyond | old]
            if len(far):
                useless = moved.isnan() if old is None else moved.isnan() | old
                if useless.any():
                    renewed, far = torch.cat([renewed, token[useless]]), token[beyond & ~useless]
        if not len(renewed):
            return far if len(self.windows) == 1 else far.sort().values, 0
        renewed = renewed[self._window[renewed].argsort(stable=True)]
        ends = _ends(self._window[renewed], len(self.windows))
        _put(now.sums, renewed, self._full(t, renewed, ends))
        none = self.row.new_empty(0)
        moved = self._exchanged(
            t, now, renewed, ends, none, self.lse.new_empty(0), torch.zeros_like(ends)
        )
        others = renewed[moved > bound[renewed]]
        cost = int(self._window.bincount()[self._window[renewed]].sum())
        return torch.cat([far, others]).sort().values, cost

    def _aged(self, now: _Present, token: Tensor) -> Tensor | None:
        """Counts an exchange of some tokens. Returns which of them have had too many, ``[n]``
        bool; None: none has.
        """
        age = now.sums.age
        age.index_add_(0, token, self._one.expand(len(token)))
        self._most += 1
        if self._most < _AGE:
            return None
        old = age[token] >= _AGE
        self._most = int(age.masked_fill(age >= _AGE, 0).max())  # those are renewed
        return old

    def _exchanged(
        self,
        t: int,
        now: _Present,
        token: Tensor,
        cu_tokens: Tensor,
        changed: Tensor,
        weight: Tensor,
        cu_changed: Tensor,
    ) -> Tensor:
        """Calls the op ``exchange``; with no keys to exchange it only says how far they moved."""
        sums = now.sums
        rest = (
            sums.shift, now.made, token, self.row[t, token], cu_tokens,
            self.query, self.key, self.value, changed, weight, cu_changed,
            self.reach, self.scale,
        )  # fmt: skip
        if not self._needs_gradients:
            return _ops.exchange(sums.weighted, sums.total, *rest)
        with torch.no_grad():
            values = sums.weighted.clone(), sums.total.clone()
            moved = _ops.exchange(*values, *rest)
        reference.exchange(sums.weighted, sums.total, *rest)
        # The gradients are those of the definition, the values bit for bit those of the op. Which
        # tokens fire must not depend on whether gradients are needed.
        for part, value in zip(sums, values, strict=False):
            part.data.copy_(value)
        return moved

    @cached_property
    def _needs_gradients(self) -> bool:
        earlier = () if self.sums is None else self.sums[:3]
        taken = (self.query, self.key, self.value, self.out, self.lse, *earlier)
        return torch.is_grad_enabled() and any(x.requires_grad for x in taken)

    def _full(self, t: int, tokens: Tensor, ends: Tensor) -> Sums:
        """Sums over all keys again for tokens of frame t, which are in order of their windows."""
        order = torch.cat(self.windows)
        out, lse = _ops.residual_attention(
            self.query[self.row[t, tokens]], self.key, self.value, ends, self.row[t, order],
            _ends(self._window, len(self.windows)), None, self.scale,
        )  # fmt: skip
        return _summed(out, lse)


def _inherit(now: _Present, inherited: Inherited, t: int) -> None:
    """Carries sums and outputs to frame t. Those of tokens from older frames are renewed later."""
    near, column, far = inherited.near[t], inherited.column[t], inherited.far[t]
    if len(near):
        _put(now.sums, near, Sums(*(part.index_select(0, column) for part in now.sums)))
        now.made.index_copy_(0, near, now.made.index_select(0, column))
    if len(far):
        now.made.index_copy_(0, far, now.older.index_select(0, inherited.place[t]))


def _put(sums: Sums, tokens: Tensor, new: Sums) -> None:
    """Overwrites the sums of some tokens (``index_copy_``, unlike ``[]=``, wakes no thread)."""
    for part, each in zip(sums, new, strict=True):
        part.index_copy_(0, tokens, each)


def _summed(out: Tensor, lse: Tensor) -> Sums:
    """Makes sums of finished softmaxes, relative to their own denominators."""
    age = torch.zeros(len(out), dtype=torch.int64, device=out.device)
    return Sums(out, torch.ones_like(lse), lse, age)


def _ends(window: Tensor, windows: int) -> Tensor:
    """Returns where the tokens of each window end, ``[W + 1]`` int32, from 0."""
    counts = window.bincount(minlength=windows)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
