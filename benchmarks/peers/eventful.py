"""Eventful Transformers' token gates (Dutson et al., ICCV 2023, arXiv 2308.13494).

Every token-wise operation of a layer (query, key and value; output projection; MLP) has a gate
that remembers the input each token was last computed from. Tokens whose input moved farthest are
computed anew; the others keep their outputs. Attention itself is computed in full, as in the
paper's token-wise variant, and as many tokens leave the tower as enter it.

Letters: T frames, N tokens of a frame, n tokens selected, D features, E of an operation's output.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from peers.layers import Encoded, Layer, embedded, layers, left

SHARE = 0.25


class TokenGate:
    """One gated operation: what each token was computed from, and what came of it."""

    def __init__(self, operation: Callable[[Tensor], Tensor], share: float) -> None:
        self._operation, self._share = operation, share
        self._reference: Tensor | None = None  # [N, D]
        self._buffer: Tensor | None = None  # [N, E]

    def __call__(self, x: Tensor) -> tuple[Tensor, int]:
        """The outputs ``[N, E]`` for ``[N, D]``, and for how many tokens they are new."""
        if self._reference is None or self._buffer is None:
            self._reference, self._buffer = x, self._operation(x)
            return self._buffer, len(x)
        count = max(1, round(self._share * len(x)))
        moved = (x - self._reference).norm(dim=1)  # [N]
        which = moved.topk(count, sorted=False).indices  # [n]
        self._reference = self._reference.index_copy(0, which, x[which])
        self._buffer = self._buffer.index_copy(0, which, self._operation(x[which]))
        return self._buffer, count


class _GatedLayer:
    def __init__(self, layer: Layer, share: float) -> None:
        self._layer = layer

        def to_qkv(y: Tensor) -> Tensor:
            return torch.cat([layer.to_query(y), layer.to_key(y), layer.to_value(y)], 1)

        self._qkv = TokenGate(to_qkv, share)
        self._project = TokenGate(layer.project, share)
        self._mlp = TokenGate(layer.mlp, share)

    def __call__(self, x: Tensor) -> tuple[Tensor, float]:
        """A frame's tokens ``[N, D]`` through the layer, and the work of it."""
        layer = self._layer
        qkv, first = self._qkv(layer.norm1(x))
        attended = layer.attend(*qkv[None].chunk(3, 2))[0]
        projected, second = self._project(attended)
        x = x + projected
        widened, third = self._mlp(layer.norm2(x))
        flops = (3 * first + second) * layer.linear_flops + third * layer.mlp_flops
        return x + widened, flops + len(x) ** 2 * layer.pair_flops


def encode(model: Any, pixel_values: Tensor, share: float = SHARE) -> Encoded:
    """A clip ``[T, 3, H, W]`` through a tower that ``layers`` knows, frame after frame.

    Args:
        share: of a frame's tokens that each gate lets through.
    """
    x, flops = embedded(model, pixel_values)
    gated = [_GatedLayer(layer, share) for layer in layers(model)]
    frames = []
    for frame in x:
        for layer in gated:
            frame, spent = layer(frame)
            flops += spent
        frames.append(frame)
    return Encoded.of(left(model, torch.stack(frames)), flops)
