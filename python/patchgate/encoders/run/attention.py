"""Attention of packed tokens: each to the kept ones of its frame, or to all of them.

Letters: T frames, M tokens of a frame, A active ones of all frames, G groups of queries, L keys of
all groups, r rows of a layer's tables, H heads, d features of a head.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from patchgate import _ops
from patchgate._tensors import arange


@dataclass(frozen=True)
class Segments:
    """Active tokens that attend to each other only (``context="kept"``): those of a frame, or of
    each window of a frame.
    """

    lengths: list[int]  # of those that have any
    order: Tensor | None  # [A] int64: where packed tokens are not in order of their segments

    @classmethod
    def of(cls, active: Tensor, window: Tensor | None) -> Self:
        """``active``: ``[T, M]`` bool. ``window``: ``[M]`` int64."""
        if window is None:
            return cls([n for n in active.sum(1).tolist() if n], None)
        frame = arange(len(active), device=active.device)[:, None]
        segment = (frame * (window.max() + 1) + window)[active]  # [A]
        order = segment.argsort(stable=True)
        return cls(segment[order].unique_consecutive(return_counts=True)[1].tolist(), order)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Outputs ``[A, H, d]`` of such each.

        One call per segment: with 1 to 20 tokens a frame as fast as batches padded to like lengths
        (which must be gathered and scattered again), with more it is faster.
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
    """Which queries attend to which keys: those of a frame, or of each window of a frame."""

    cu_queries: Tensor  # [G + 1] int32: packed queries of group g are cu_queries[g]:[g + 1]
    key_index: Tensor  # [L] int64: rows of the tables of keys and values
    cu_keys: Tensor  # [G + 1] int32: likewise of key_index
    order: Tensor | None  # [A] int64: where the queries are not packed in order of their groups
    pairs: int  # queries times keys

    @classmethod
    def of(cls, active: Tensor, shown: Tensor, window: Tensor | None) -> Self:
        """Active tokens attend to all tokens of their frame, or of their window.

        Args:
            active: ``[T, M]`` bool. shown: ``[T, M]`` int64, the row of each token.
            window: ``[M]`` int64.
        """
        frames, m = active.shape
        order, windows = None, 1
        if window is None:
            window = torch.zeros(m, dtype=torch.int64, device=active.device)
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

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> tuple[Tensor, Tensor]:
        """Residual attention: outputs ``[A, H, d]`` and logs of the denominators ``[A, H]``.

        Args:
            query: ``[A, H, d]``. key, value: ``[r, H, d]``.
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


def _ends(counts: Tensor) -> Tensor:
    """``[G + 1]`` int32, the running sum from 0."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
