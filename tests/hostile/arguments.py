"""Valid arguments of every op of ``torch.ops.patchgate`` that runs on the CPU, by a seed."""

import random
from collections.abc import Callable
from typing import Any

import activate_cases
import attention_cases
import exchange_cases
import gate_cases
import gate_videos
import gather_cases
import merge_cases
import segment_cases
import torch
from torch import Tensor

from patchgate import grid

MUTATED = {"gate": range(1, 8), "exchange": range(2), "exchange_level": range(2)}  # in place


def gate(luck: random.Random) -> list[Any]:
    patch, merge = luck.choice([1, 2, 3, 4, 7, 8, 14, 16]), luck.choice([1, 1, 2])
    config = {
        "patch": patch, "merge": merge, "temporal_patch": luck.choice([1, 1, 2]),
        "sub_blocks": luck.choice([k for k in range(1, patch + 1) if patch % k == 0]),
        "search_radius": luck.choice([0, 1, 3, 8]),
        "on_motion": luck.choice(["encode", "camera", "reuse"]),
        "max_age": luck.choice([None, 1, 3, 40]), "scene_cut": luck.choice([None, 0.5]),
        "hysteresis": luck.choice([None, 0.5]), "noise": luck.choice([None, "adaptive"]),
        "motion_precision": luck.choice([1, 1, 2, 4]),
        "illumination": luck.choice([None, "global"]),
    }  # fmt: skip
    size = (patch * merge * luck.randint(1, 3), patch * merge * luck.randint(1, 3))
    planes = luck.choice([1, 3])
    seen = [
        gate_videos.any_video(size, planes, luck.randrange(1000))[:6]
        for _ in range(luck.randint(1, 2))
    ]
    relit = luck.random() < 0.5
    videos = [gate_videos.relit(video, 5) if relit else video for video in seen]
    cells = [side // (patch * merge) for side in size]
    factors = gate_videos.any_map(*cells, luck.randrange(99)).double()
    args = list(gate_cases.call(config, videos, factors if luck.random() < 0.5 else None))
    if luck.random() < 0.7:  # a stream that has seen frames
        torch.ops.patchgate.gate(*args)
    return args


def compact(luck: random.Random) -> list[Any]:
    kind = torch.randint(0, 3, (luck.randint(0, 3), luck.randint(0, 4), 5), dtype=torch.uint8)
    return [kind, luck.choice([0, 3, kind.numel()])]


def frame_grid(luck: random.Random) -> list[Any]:
    deep = luck.choice([8, 8, 10, 16])
    batch = _batch(luck, deep)
    y, cb, cr = batch.planes
    size = (luck.randint(1, 40), luck.randint(1, 40))
    fit = luck.choice(["stretch", "crop", "pad"])
    shapes = tuple(y.shape[1:]), tuple(cb.shape[1:])
    tables = grid.tap_tables(*shapes, grid.fitted(shapes[0], size, fit), y.device)
    return [y, cb, cr, *tables, luck.random() < 0.5, deep]


def gather(luck: random.Random) -> list[Any]:
    patch, merge = luck.randint(1, 8), luck.choice([1, 1, 2])
    size = (luck.randint(1, 4) * patch * merge, luck.randint(1, 4) * patch * merge)
    spec = gather_cases.make_spec(
        size, patch, merge=merge, temporal_patch=luck.choice([1, 2]),
        channels_last=luck.random() < 0.5, first_pass=luck.choice(["horizontal", "pillow13"]),
    )  # fmt: skip
    batch: Any = _batch(luck, luck.choice([8, 8, 10]))
    if luck.random() < 0.2:
        batch = torch.randint(0, 256, (2, 3, 9, 11), dtype=torch.uint8)
    dtype = luck.choice(gather_cases.DTYPES)
    kept = luck.choice(["all", "half", "none"])
    return list(gather_cases.arguments(batch, spec, kept, dtype, luck.randrange(99)))


def residual_attention(luck: random.Random) -> list[Any]:
    groups = luck.randint(0, 3)
    return list(
        attention_cases.make_case(
            [luck.choice([0, 1, 5, 20]) for _ in range(groups)],
            [luck.choice([0, 1, 9, 40]) for _ in range(groups)],
            luck.randint(1, 3), luck.choice([0, 1, 7, 16, 33]), biased=luck.random() < 0.5,
            spare=luck.choice([0, 2]), dtype=luck.choice(attention_cases.DTYPES),
        )
    )  # fmt: skip


def residual_attention_level(luck: random.Random) -> list[Any]:
    return [*residual_attention(luck), luck.choice(attention_cases.LEVELS)]


def residual_attention_backward(luck: random.Random) -> list[Any]:
    inputs = residual_attention(luck)
    out, lse = torch.ops.patchgate.residual_attention(*inputs)
    return [torch.randn_like(out), torch.randn_like(lse), *inputs, out, lse]


def exchange(luck: random.Random) -> list[Any]:
    groups = luck.randint(0, 3)
    return list(
        exchange_cases.make_case(
            [luck.choice([0, 1, 6]) for _ in range(groups)],
            [luck.choice([0, 1, 20]) for _ in range(groups)],
            luck.randint(1, 3), luck.choice([1, 7, 16, 33]), rows=luck.randint(1, 9),
            dtype=luck.choice(exchange_cases.DTYPES),
        )
    )  # fmt: skip


def exchange_level(luck: random.Random) -> list[Any]:
    return [*exchange(luck), luck.choice(attention_cases.LEVELS)]


def activate(luck: random.Random) -> list[Any]:
    return list(
        activate_cases.make_case(
            luck.randint(1, 4), luck.randint(1, 6), seed=luck.randrange(99),
            dtype=luck.choice(activate_cases.DTYPES),
        )
    )  # fmt: skip


def segment_mean(luck: random.Random) -> list[Any]:
    lengths = [luck.randint(0, 6) for _ in range(luck.randint(0, 4))]
    case = segment_cases.make_case(
        lengths, luck.choice([0, 1, 5, 600]), luck.randint(1, 9), luck.random() < 0.5,
        luck.randint(0, 2),
    )  # fmt: skip
    return list(case.to(luck.choice(segment_cases.DTYPES)))


def segment_mean_backward(luck: random.Random) -> list[Any]:
    inputs = segment_mean(luck)
    out = torch.ops.patchgate.segment_mean(*inputs)
    return [torch.randn_like(out), *inputs, out]


def nearest_token(luck: random.Random) -> list[Any]:
    sizes = luck.randint(1, 9), luck.choice([0, 1, 33]), luck.randint(0, 5), luck.randint(0, 20)
    return list(merge_cases.make_choice(*sizes))


def row_distance(luck: random.Random) -> list[Any]:
    sizes = luck.randint(1, 9), luck.randint(1, 9), luck.choice([0, 1, 40]), luck.randint(0, 9)
    return list(merge_cases.pairs(*sizes))


def contract(luck: random.Random) -> list[Any]:
    features = torch.randn(luck.randint(1, 20), luck.choice([1, 9, 40]))
    most = luck.randint(0, 20)
    return list(merge_cases.make_links(features, luck.randint(0, 2), luck.randint(1, 3), most))


def expand(luck: random.Random) -> list[Any]:
    dtype = luck.choice([torch.float32, torch.float16, torch.uint8, torch.int64, torch.float64])
    features = torch.randint(0, 9, (luck.randint(1, 6), luck.randint(0, 9))).to(dtype)
    return [features, torch.randint(0, len(features), (luck.randint(0, 3), 4))]


def expand_backward(luck: random.Random) -> list[Any]:
    source = torch.randint(0, 5, (luck.randint(0, 3), 4))
    dtype = luck.choice([torch.float32, torch.float16, torch.bfloat16, torch.float64])
    return [torch.randn(*source.shape, luck.randint(0, 9)).to(dtype), source, luck.randint(5, 7)]


def _batch(luck: random.Random, bit_depth: int) -> Any:
    return gather_cases.make_batch(
        (luck.randint(1, 30), luck.randint(1, 60)),
        luck.choice([(2, 2), (1, 1), (1, 2), (4, 4), (1000, 1000)]),
        frames=luck.randint(0, 3), bit_depth=bit_depth, margin=luck.choice([0, 0, 1]),
        seed=luck.randrange(99),
    )  # fmt: skip


MAKERS: dict[str, Callable[[random.Random], list[Any]]] = {
    make.__name__: make
    for make in (
        gate, compact, frame_grid, gather, residual_attention, residual_attention_level,
        residual_attention_backward, exchange, exchange_level, activate, segment_mean,
        segment_mean_backward, nearest_token, row_distance, contract, expand, expand_backward,
    )
}  # fmt: skip


def valid(op: str, luck: random.Random) -> list[Any]:
    """Arguments that the op takes, each tensor of its own memory of just its size."""
    torch.manual_seed(luck.randrange(1 << 32))
    return [arg.clone() if isinstance(arg, Tensor) else arg for arg in MAKERS[op](luck)]


def every_op() -> list[str]:
    """The library's ops, from its schemas."""
    names = {each.name for each in torch._C._jit_get_all_schemas()}
    return sorted({name.split("::")[1] for name in names if name.startswith("patchgate::")})
