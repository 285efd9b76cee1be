"""Attention of packed tokens: each attends to the kept tokens of its frame, or to all of them.

Letters: T frames, M tokens of a frame, A active ones of all frames, G groups of queries and keys,
L entries of an index, r remembered rows, H heads, d features of a head, n tokens of a segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from patchgate import _ops
from patchgate._tensors import arange


@dataclass(frozen=True)
class Segments:
    """Segments of active tokens that attend to each other only (``context="kept"``).

    A segment is a frame's active tokens, or those of one window of a frame.
    """

    lengths: list[int]  # the number of tokens of each segment that has any
    order: Tensor | None  # [A] int64: sorts packed tokens by their segments, if they are not

    @classmethod
    def of(cls, active: Tensor, window: Tensor | None) -> Self:
        """Makes the segments of active tokens.

        Args:
            active: ``[T, M]`` bool.
            window: ``[M]`` int64, the window of each token; None: a frame is one window.
        """
        if window is None:
            return cls([n for n in active.sum(1).tolist() if n], None)
        frame = arange(len(active), device=active.device)[:, None]
        segment = (frame * (window.max() + 1) + window)[active]  # [A]
        order = segment.argsort(stable=True)
        return cls(segment[order].unique_consecutive(return_counts=True)[1].tolist(), order)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Computes attention within each segment.

        There is one call per segment. With 1 to 20 tokens a frame this takes as long as batches
        padded to equal lengths, which must be gathered and scattered again; with more tokens, it is
        faster.

        Args:
            query, key, value: ``[A, H, d]`` each.

        Returns:
            ``[A, H, d]``.
        """
        if not self.lengths:
            return torch.zeros_like(query)
        if self.order is not None:
            query, key, value = query[self.order], key[self.order], value[self.order]
        parts = (x.transpose(0, 1)[None].split(self.lengths, 2) for x in (query, key, value))
        out = [
            scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2)  # [1, n, H, d]
            for q, k, v in zip(*parts, strict=True)
        ]
        joined = torch.cat(out, 1)[0]
        return joined if self.order is None else joined[self.order.argsort()]


@dataclass(frozen=True)
class Groups:
    """Groups of queries and keys: each query attends to all keys of its group.

    A group is a frame, or one window of a frame.
    """

    cu_queries: Tensor  # [G + 1] int32: packed queries of group g are cu_queries[g]:[g + 1]
    key_index: Tensor  # [L] int64: rows of the tables of keys and values
    cu_keys: Tensor  # [G + 1] int32: the same for the entries of key_index
    order: Tensor | None  # [A] int64: sorts packed queries by their groups, if they are not
    pairs: int  # queries times keys

    @classmethod
    def of(cls, active: Tensor, shown: Tensor, window: Tensor | None) -> Self:
        """Makes the groups in which active tokens attend to all tokens of their frame or window.

        Args:
            active: ``[T, M]`` bool.
            shown: ``[T, M]`` int64, the row of each token.
            window: ``[M]`` int64, the window of each token; None: a frame is one window.
        """
        frames, tokens = active.shape
        order, windows = None, 1
        if window is None:
            window = torch.zeros(tokens, dtype=torch.int64, device=active.device)
        else:
            windows = int(window.max()) + 1
            shown = shown[:, window.argsort(stable=True)]
        group = arange(frames, device=active.device)[:, None] * windows + window  # [T, M]
        if windows > 1:
            order = group[active].argsort(stable=True)
        queries = group[active].bincount(minlength=frames * windows)
        keys = window.bincount(minlength=windows).repeat(frames)
        pairs = int((queries * keys).sum())
        return cls(_ends(queries), shown.flatten(), _ends(keys), order, pairs)

    @classmethod
    def together(
        cls, groups: Sequence[Self], counts: Sequence[int], lengths: Sequence[int]
    ) -> Self:
        """Joins the groups of several streams whose queries and tables are packed.

        Args:
            counts: the number of each stream's queries, A.
            lengths: the number of rows of each stream's table, r + A.
        """
        rows = queries = entries = 0
        index: list[Tensor] = []
        order: list[Tensor] = []
        cu_queries: list[Tensor] = []
        cu_keys: list[Tensor] = []
        for each, own, length in zip(groups, counts, lengths, strict=True):
            index.append(each.key_index + rows)
            places = arange(own, device=each.key_index.device) if each.order is None else each.order
            order.append(places + queries)
            begin = 1 if cu_queries else 0  # the end of one stream is the beginning of the next
            cu_queries.append(each.cu_queries[begin:] + queries)
            cu_keys.append(each.cu_keys[begin:] + entries)
            rows, queries, entries = rows + length, queries + own, entries + len(each.key_index)
        sorted_ = all(each.order is None for each in groups)
        return cls(
            torch.cat(cu_queries),
            torch.cat(index),
            torch.cat(cu_keys),
            None if sorted_ else torch.cat(order),
            sum(each.pairs for each in groups),
        )

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Computes residual attention.

        Args:
            query: ``[A, H, d]``.
            key, value: ``[r + A, H, d]``.

        Returns:
            The outputs ``[A, H, d]`` and the logarithms of the denominators ``[A, H]``.
        """
        if self.order is not None:
            query = query[self.order]
        out, lse = _ops.residual_attention(
            query, key, value, self.cu_queries, self.key_index, self.cu_keys, None, scale
        )
        if self.order is None:
            return out, lse
        back = self.order.argsort()
        return out[back], lse[back]


def members(window: Tensor | None, active: Tensor) -> list[Tensor]:
    """Returns the tokens of each window, in order; without windows, all tokens of a frame."""
    if window is None:
        return [arange(active.shape[1], device=active.device)]
    return [(window == w).nonzero().flatten() for w in window.unique()]


def _ends(counts: Tensor) -> Tensor:
    """Returns where each group ends: ``[G + 1]`` int32, the running sum from 0."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
