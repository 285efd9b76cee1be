"""SigLIP's vision tower on kept cells.

Letters: T frames, F frames that keep a cell, R packed rows, N patches of a frame, H heads,
d features of a head, D = H * d features.
"""

import torch
from torch import Tensor, nn

from patchgate.encoders import calls
from patchgate.encoders.adapted import constant_when_compiled
from patchgate.encoders.families import structure
from patchgate.encoders.families.clip import ClipLike

_HEAD_PARTS = (
    "head.probe",
    "head.attention.in_proj_weight",
    "head.attention.in_proj_bias",
    "head.layernorm",
    "head.mlp",
)


class Siglip(ClipLike):
    """SigLIP's tower: it has no prefix tokens, and pools by attention of one learned query."""

    names = ("SiglipVisionModel", "SiglipVisionTransformer")
    parts = ("post_layernorm", "use_head")
    prefix = 0

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        if self.model.use_head:
            structure.check_parts(model, _HEAD_PARTS)

    def prefix_tokens(self) -> Tensor:
        return self.weight.new_empty((0, self.weight.shape[0]))

    def leave(self, rows: Tensor) -> Tensor:
        return self.model.post_layernorm(rows)

    # The pooling head has one query for all frames. Its key projection is applied to the query
    # instead of the tokens, and its value projection to the sum of the tokens. So each token costs
    # H scores, and each frame one sum. If the head is wrapped (by an adapter, for instance), it is
    # called on all tokens of each frame instead.

    @property
    def pools(self) -> bool:
        return bool(self.model.use_head)

    def pool_entry(self, features: Tensor) -> Tensor | None:
        """Computes the query's score of each token in each head, ``[R, H]``."""
        if not self.pools or not self._pools_plainly():
            return None
        attention, probe = self.model.head.attention, self.model.head.probe
        heads, width = attention.num_heads, attention.head_dim
        to_query, to_key, _ = attention.in_proj_weight.chunk(3)  # [D, D] each
        query_bias, key_bias, _ = attention.in_proj_bias.chunk(3)
        query = (
            nn.functional.linear(probe[0], to_query, query_bias).view(heads, width) * width**-0.5
        )
        weight = torch.einsum("hd,hde->he", query, to_key.view(heads, width, -1))  # [H, D]
        bias = (query * key_bias.view(heads, width)).sum(1)
        return nn.functional.linear(features, weight, bias)

    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
        if not self.pools:
            return None
        head = self.model.head
        if entry is None:  # one frame at a time, see below
            return torch.cat([head(dense[t : t + 1]) for t in frames])
        weights = entry.softmax(1).transpose(1, 2)  # [F, H, N]
        # One frame at a time: a batch would copy the dense states of all of them.
        mixed = torch.stack([w @ dense[t] for w, t in zip(weights, frames, strict=True)])
        *_, to_value = head.attention.in_proj_weight.chunk(3)  # [D, D]
        *_, value_bias = head.attention.in_proj_bias.chunk(3)
        to_value = to_value.unflatten(0, (weights.shape[1], -1))  # [H, d, D]
        value = torch.einsum("fhe,hde->fhd", mixed, to_value).flatten(1)  # [F, D]
        pooled = head.attention.out_proj(value + value_bias)
        return pooled + head.mlp(head.layernorm(pooled))

    def pool_flops(self, frames: int, tokens: int, dense: bool) -> float:
        if not self.pools:
            return 0.0
        d, wide = self.model.config.hidden_size, self.model.config.intermediate_size
        heads, n = self.model.head.attention.num_heads, self.cells
        after = 2 * d * d + 4 * d * wide  # out_proj, mlp
        if dense or not self._pools_plainly():
            return frames * (2 * d * d + 4 * n * d * d + 4 * n * d + after)
        return 2 * tokens * d * heads + frames * (2 * heads * n * d + 2 * d * d + after)

    @constant_when_compiled
    def _pools_plainly(self) -> bool:
        """Whether nothing wraps the head or its projections."""
        attention = self.model.head.attention
        parts = (self.model.head, attention, attention.out_proj)
        return all(calls.addition(part, self._home) is None for part in parts)
