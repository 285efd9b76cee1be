"""Residual attention against gathered keys and values: python benchmarks/residual_attention.py

Attention of one layer of ViT-B/16 at 224 (197 tokens, 12 heads of 64) and of so400m/14 at 378 (729
tokens, 16 heads of 72), on two threads. In every frame a share of the cells is new; its other keys
are those of earlier frames. The alternatives, checked to be equal first:

- per frame: the frame's keys and values are gathered, then torch's scaled_dot_product_attention;
- masked: one scaled_dot_product_attention of all queries over all keys ever kept, with a mask
  (where the mask fits a gigabyte);
- dense: scaled_dot_product_attention in a batch of frames whose keys and values lie ready: what a
  dense tower pays, and as many queries as were kept. Its gathering is not counted.
"""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import harness
import table
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from patchgate import _ops

LAYERS = {"ViT-B/16-224": (197, 12, 64, 32), "so400m/14-378": (729, 16, 72, 8)}  # N, H, d, frames
SHARES = (0.01, 0.1, 1.0)
MASK_BYTES = 1 << 30


class Layer(NamedTuple):
    """The arguments of the op, and the shape they were made in."""

    arguments: tuple[Any, ...]
    frames: int
    tokens: int  # N
    kept: int  # of a frame

    @property
    def rows(self) -> Tensor:
        """[T, N]: which key stands for each cell of each frame."""
        return self.arguments[4].view(self.frames, self.tokens)


def make_layer(
    tokens: int, heads: int, width: int, frames: int, share: float, dtype: torch.dtype
) -> Layer:
    random = torch.Generator().manual_seed(0)
    kept = max(1, round(tokens * share))
    # As from a fused projection of the kept tokens; where not all are, a frame was encoded before.
    earlier = 0 if kept == tokens else tokens
    fused = torch.randn(earlier + frames * kept, 3, heads, width, generator=random).to(dtype)
    query, key, value = fused.unbind(1)
    source, index = torch.arange(tokens), []
    for t in range(frames):
        cells = torch.randperm(tokens, generator=random)[:kept].sort().values
        source = source.clone()
        source[cells] = earlier + t * kept + torch.arange(kept)
        index.append(source)
    count = torch.arange(frames + 1, dtype=torch.int32)
    arguments = (query[earlier:], key, value, count * kept, torch.cat(index), count * tokens, None)
    return Layer((*arguments, width**-0.5), frames, tokens, kept)


def residual(layer: Layer) -> Tensor:
    return _ops.residual_attention(*layer.arguments)[0]


def per_frame(layer: Layer) -> Tensor:
    query, key, value, *_ = layer.arguments
    out = []
    for rows, queries in zip(layer.rows, query.split(layer.kept), strict=True):
        heads_first = (x.transpose(0, 1)[None] for x in (queries, key[rows], value[rows]))
        out.append(scaled_dot_product_attention(*heads_first)[0].transpose(0, 1))
    return torch.cat(out)


def block_mask(layer: Layer) -> Tensor:
    """[R, A]: which keys a query may see."""
    mask = torch.zeros(layer.frames, len(layer.arguments[1]), dtype=torch.bool)
    return mask.scatter_(1, layer.rows, True).repeat_interleave(layer.kept, 0)


def masked(layer: Layer, mask: Tensor) -> Tensor:
    heads_first = (x.transpose(0, 1)[None] for x in layer.arguments[:3])
    out = scaled_dot_product_attention(*heads_first, attn_mask=mask)
    return out[0].transpose(0, 1)


def ready(layer: Layer) -> tuple[Tensor, ...]:
    """Query [T, H, n, d], key and value [T, H, N, d], as a dense tower's layer has them."""
    query, key, value, *_ = layer.arguments
    batches = (query.unflatten(0, (layer.frames, -1)), key[layer.rows], value[layer.rows])
    return tuple(x.transpose(1, 2).contiguous() for x in batches)


def dense(batches: tuple[Tensor, ...]) -> Tensor:
    return scaled_dot_product_attention(*batches).transpose(1, 2).flatten(0, 1)


def variants(layer: Layer) -> dict[str, Callable[[], Tensor]]:
    batches = ready(layer)
    calls = {
        "residual": lambda: residual(layer),
        "per frame": lambda: per_frame(layer),
        "dense": lambda: dense(batches),
    }
    if len(layer.arguments[0]) * len(layer.arguments[1]) < MASK_BYTES // 8:
        mask = block_mask(layer)
        calls["masked"] = lambda: masked(layer, mask)
    return calls


def measure(name: str, share: float, dtype: torch.dtype) -> dict[str, Any]:
    layer = make_layer(*LAYERS[name], share, dtype)
    calls = variants(layer)
    expected = calls["per frame"]()
    for call in calls.values():  # two roundings of numbers of about 1
        eps = 4 * torch.finfo(dtype).eps if dtype != torch.float32 else 1e-5
        torch.testing.assert_close(call(), expected, rtol=eps, atol=eps)
    times = harness.paired(calls, rounds=9)

    def ratio(other: str) -> str:
        return f"{harness.ratio(times[other], times['residual']):.2f}" if other in times else "-"

    seconds = statistics.median(times["residual"])
    heads, width = layer.arguments[0].shape[1:]
    operations = 4 * layer.frames * layer.kept * layer.tokens * heads * width
    return {
        "layer": name,
        "dtype": str(dtype).removeprefix("torch."),
        "kept of a frame": layer.kept,
        "us a frame": round(1e6 * seconds / layer.frames),
        "GFLOP/s": round(operations / seconds / 1e9),
        "x per frame": ratio("per frame"),
        "x masked": ratio("masked"),
        "x dense": ratio("dense"),
    }


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(harness.THREADS)
    rows = [
        measure(name, share, dtype)
        for name in LAYERS
        for dtype in (torch.float32, torch.bfloat16)
        for share in SHARES
    ]
    table.publish("residual_attention", rows, "residual attention: how many times faster")


if __name__ == "__main__":
    main()
