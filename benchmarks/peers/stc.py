"""STC's cacher (Wang et al., "Accelerating Streaming Video Large Language Models via Hierarchical
Token Compression", arXiv 2512.00891), as released.

Every second frame is computed in full and becomes the reference. Of the frame after it, in each
layer all keys are computed; tokens whose keys are least like the reference's get new queries,
values, attention and MLP; the others take the reference's values and outputs.

Letters: N tokens of a frame, n tokens selected, D features.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from peers.layers import Encoded, Layer, embedded, layers, left

SHARE, INTERVAL = 0.25, 2


class _Reference(NamedTuple):
    """What a layer did for the last frame that was computed in full, ``[N, D]`` each."""

    key: Tensor
    value: Tensor
    attended: Tensor
    widened: Tensor


def encode(
    model: Any, pixel_values: Tensor, share: float = SHARE, interval: int = INTERVAL
) -> Encoded:
    """A clip ``[T, 3, H, W]`` through a tower that ``layers`` knows, frame after frame.

    Args:
        share: of a frame's tokens that are computed between references.
        interval: frames from one reference to the next.
    """
    x, flops = embedded(model, pixel_values)
    blocks = layers(model)
    references: list[_Reference] = []
    frames = []
    for t, frame in enumerate(x):
        if t % interval == 0:
            references = []
        for number, layer in enumerate(blocks):
            if t % interval == 0:
                frame, spent, reference = _full(layer, frame)
                references.append(reference)
            else:
                frame, spent = _selective(layer, frame, references[number], share)
            flops += spent
        frames.append(frame)
    return Encoded.of(left(model, torch.stack(frames)), flops)


def _full(layer: Layer, x: Tensor) -> tuple[Tensor, float, _Reference]:
    y = layer.norm1(x)
    key, value = layer.to_key(y), layer.to_value(y)
    attended = layer.project(layer.attend(layer.to_query(y)[None], key[None], value[None])[0])
    x = x + attended
    widened = layer.mlp(layer.norm2(x))
    flops = len(x) * (4 * layer.linear_flops + layer.mlp_flops + len(x) * layer.pair_flops)
    return x + widened, flops, _Reference(key, value, attended, widened)


def _selective(layer: Layer, x: Tensor, last: _Reference, share: float) -> tuple[Tensor, float]:
    y, count = layer.norm1(x), max(1, int(len(x) * share))
    key = layer.to_key(y)
    likeness = cosine_similarity(key, last.key, dim=1)  # [N]
    which = likeness.topk(count, largest=False, sorted=False).indices  # [n]
    value = last.value.index_copy(0, which, layer.to_value(y[which]))
    new = layer.attend(layer.to_query(y[which])[None], key[None], value[None])[0]
    x = x + last.attended.index_copy(0, which, layer.project(new))
    widened = last.widened.index_copy(0, which, layer.mlp(layer.norm2(x[which])))
    linear = len(x) + 3 * count
    flops = linear * layer.linear_flops + count * (layer.mlp_flops + len(x) * layer.pair_flops)
    return x + widened, flops
