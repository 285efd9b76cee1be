"""What the gate's op is called with."""

from typing import Any

import torch
from gate_videos import any_map, busy_video
from torch import Tensor

NAMES = ("kind", "motion", "cost", "source", "is_key", "limit", "weights", "lit")
STATE_NAMES = ("picture", "ids", "source", "clock", "births", "quartiles", "light")
ON_MOTION = {"encode": 0, "camera": 1, "reuse": 2}


def state_for(
    planes: Tensor, p: int, max_age: int | None, illumination: str | None = None
) -> tuple[Tensor, ...]:
    """A stream state as the schema says, for planes ``[S, T, f, C, H, W]``.

    Full of rubbish but for the clock: a stream's first frame must not read the rest.
    """
    s, _, f, c, height, width = planes.shape
    return (
        torch.full((s, f, c, height, width), 201, dtype=torch.uint8),
        torch.full((s, height, width), 12345, dtype=torch.int32),
        torch.full((s, height // p, width // p), 12345, dtype=torch.int64),
        torch.zeros(s, 2, dtype=torch.int64),
        torch.full((s, max_age or 0), 12345, dtype=torch.int64),
        torch.full((s, 15), 12345, dtype=torch.int32),
        torch.full(
            (s, f, c, 4, height // p if illumination else 0, width // p), 12345, dtype=torch.int32
        ),
    )


def rules_for(config: dict[str, Any], cells: int) -> tuple[Any, ...]:
    """The op's scalar arguments, in the schema's order."""
    p, side = config["patch"] * config["merge"], config["patch"] // config["sub_blocks"]
    cut, hysteresis = config["scene_cut"], config["hysteresis"]
    return (
        p,
        side,
        int(config["threshold"] * side * side),
        int(2 * config["threshold"] * p * p * config["temporal_patch"]),
        config["search_radius"],
        ON_MOTION[config["on_motion"]],
        -1 if cut is None else int(cut * cells),
        -1.0 if hysteresis is None else hysteresis,
        config["noise"] == "adaptive",
        config["motion_precision"],
    )


def tubelets(videos: list[Tensor], f: int) -> Tensor:
    """Videos ``[T, C, H, W]`` as planes ``[S, T // f, f, C, H, W]``."""
    t = min(len(video) for video in videos) // f
    return torch.stack([v[: t * f].view(t, f, *v.shape[1:]) for v in videos])


CONFIG: dict[str, Any] = {
    "threshold": 4, "search_radius": 3, "on_motion": "camera", "scene_cut": 0.8, "max_age": 4,
    "patch": 8, "merge": 1, "temporal_patch": 1, "sub_blocks": 2, "chroma": True,
    "hysteresis": 0.5, "noise": "adaptive", "motion_precision": 1, "illumination": None,
}  # fmt: skip
# Where cells have nothing to do with each other: the kernel that takes them through all frames.
APART = {"search_radius": 0, "scene_cut": None, "hysteresis": None, "noise": None}


def arguments(config: dict[str, Any] | None = None, streams: int = 2) -> tuple[Any, ...]:
    """Planes, state, map and rules of busy videos of 3 x 4 cells."""
    config = CONFIG | (config or {})
    planes = tubelets([busy_video(seed) for seed in range(streams)], config["temporal_patch"])
    state = state_for(planes, 8, config["max_age"], config["illumination"])
    return (planes, *state, any_map(3, 4, 7).double(), *rules_for(config, 12))


def copied(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(arg.clone() if isinstance(arg, Tensor) else arg for arg in args)


def call(config: dict[str, Any], videos: list[Tensor], factors: Tensor | None = None) -> tuple:
    """The op's arguments for videos ``[T, C, H, W]``."""
    config = CONFIG | config
    planes = tubelets(videos, config["temporal_patch"])
    p = config["patch"] * config["merge"]
    cells = planes.shape[-2] // p * (planes.shape[-1] // p)
    state = state_for(planes, p, config["max_age"], config["illumination"])
    return (planes, *state, factors, *rules_for(config, cells))
