"""SigLIP's layers taken apart, for the peers that work inside a tower.

All of them attend by ``scaled_dot_product_attention``, as the dense tower does. Work is counted as
in ``patchgate.encoders.run.work``: a multiply and an add are two.

Letters: T frames, N tokens of a frame, H heads, d features of a head, D features, P patch side.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from peers.choice import Choice, numbered


class Encoded(NamedTuple):
    """What a tower makes of a clip with a peer inside it."""

    features: Tensor  # [T, N, D]: what every cell shows
    choice: Choice  # which tokens leave the tower
    flops: float  # of patch embedding and layers

    @property
    def tokens(self) -> int:
        """How many. Synchronises."""
        return self.choice.tokens

    @classmethod
    def of(cls, features: Tensor, flops: float) -> "Encoded":
        """Where as many tokens leave as enter."""
        return cls(features, Choice(numbered(features[..., 0])), flops)


class Layer:
    """One layer of a ``SiglipVisionModel``: its token-wise parts and its attention."""

    def __init__(self, block: Any) -> None:
        self.norm1: nn.Module = block.layer_norm1
        self.norm2: nn.Module = block.layer_norm2
        self.mlp: nn.Module = block.mlp
        own = block.self_attn
        self.to_query: nn.Linear = own.q_proj
        self.to_key: nn.Linear = own.k_proj
        self.to_value: nn.Linear = own.v_proj
        self.project: nn.Linear = own.out_proj
        self.scale: float = own.scale
        self._heads = (-1, own.head_dim)
        width, wide = block.mlp.fc1.in_features, block.mlp.fc1.out_features
        self.linear_flops = 2.0 * width * width  # of one of the four projections, per token
        self.mlp_flops = 4.0 * width * wide  # per token
        self.pair_flops = 4.0 * width  # per query and key: its score, its share of the sum

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """``[T, q, D]`` to keys and values ``[T, n, D]``; ``bias`` ``[T, n]``: added to scores."""
        q, k, v = (x.unflatten(2, self._heads).transpose(1, 2) for x in (query, key, value))
        mask = None if bias is None else bias[:, None, None].expand(-1, -1, q.shape[2], -1)
        out = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scale)
        return out.transpose(1, 2).flatten(2)


def layers(model: Any) -> Iterator[Layer]:
    """Of a ``SiglipVisionModel``, from the first on."""
    return (Layer(block) for block in model.encoder.layers)


def embedded(model: Any, pixel_values: Tensor) -> tuple[Tensor, float]:
    """``[T, 3, H, W]`` as tokens before the first layer ``[T, N, D]``, and the work of it."""
    tokens = model.embeddings(pixel_values)
    weight = model.embeddings.patch_embedding.weight
    return tokens, 2.0 * weight.numel() * tokens.shape[0] * tokens.shape[1]


def dense(model: Any, pixel_values: Tensor) -> Encoded:
    """Nothing left out: the tower itself, with its work counted."""
    x, flops = embedded(model, pixel_values)
    tokens = x.shape[0] * x.shape[1]
    for layer in layers(model):
        y = layer.norm1(x)
        x = x + layer.project(layer.attend(layer.to_query(y), layer.to_key(y), layer.to_value(y)))
        x = x + layer.mlp(layer.norm2(x))
        flops += tokens * (4 * layer.linear_flops + layer.mlp_flops)
        flops += tokens * x.shape[1] * layer.pair_flops
    return Encoded.of(model.post_layernorm(x), flops)
