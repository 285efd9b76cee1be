"""Token Merging in every layer of a tower, by the keys, with proportional attention.

Bolya et al., ICLR 2023, arXiv 2210.09461, sections 3 and 3.1. Letters: T frames, N tokens of a
frame, n those left, D features, d features of a head.
"""

import math
from typing import Any

from torch import Tensor

from peers.layers import Encoded, embedded, layers, left
from peers.tome import Merging

REMOVED = 13  # tokens a layer: what the paper takes for ViT-B (7 to 8 for L and H)


def encode(model: Any, pixel_values: Tensor, share: float | None = None) -> Encoded:
    """A clip ``[T, 3, H, W]`` through a ``SiglipVisionModel``.

    Args:
        share: of a frame's tokens to be left after the last layer, as many removed in each; None:
            13 in each.
    """
    if hasattr(model.embeddings, "cls_token"):
        raise TypeError("model: expected one without a CLS token, which would be merged with cells")
    x, flops = embedded(model, pixel_values)
    state, blocks = Merging.start(x), layers(model)
    for number, layer in enumerate(blocks):
        x, n = state.tokens, state.tokens.shape[1]
        y = layer.norm1(x)
        query, key, value = layer.to_query(y), layer.to_key(y), layer.to_value(y)
        attended = layer.attend(query, key, value, bias=state.size.log())
        rows = state.size.numel()
        flops += rows * (4 * layer.linear_flops + n * layer.pair_flops)
        state = state._replace(tokens=x + layer.project(attended))
        metric = key.unflatten(2, (model.config.num_attention_heads, -1)).mean(2)  # [T, n, d]
        wanted = round(state.owner.shape[1] * share) if share is not None else 1
        rest = REMOVED if share is None else math.ceil((n - wanted) / (len(blocks) - number))
        state = state.merged(metric, min(rest, n - wanted))
        state = state._replace(tokens=state.tokens + layer.mlp(layer.norm2(state.tokens)))
        flops += state.size.numel() * layer.mlp_flops
    found = left(model, state.tokens)  # [T, n, D]
    shown = found.gather(1, state.owner[..., None].expand(-1, -1, found.shape[2]))
    return Encoded(shown, state.choice(), flops)
