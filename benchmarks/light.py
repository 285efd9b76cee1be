"""What following the light costs the gate: python benchmarks/light.py [VIDEO...]

Times the gate with ``illumination="global"`` beside the gate without, in pairs of one run on one
thread, frame by frame: on clips whose light does not change (a still picture, noise, a pan, cuts;
real clips where they are named), and on a fade. Writes results/light.json: medians of the ratios of
pairs, and what they should be at most.

Letters: T frames.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import harness
import table
import torch
from flicker import CELL, frame_gain, grain
from gpu.gate import glide, noise, still
from torch import Tensor

import patchgate
from patchgate.grid import to_grid

FRAMES, PAIRS, SIZE = 100, 15, (378, 378)
AIM = 1.03  # where the light does not change


def pushed(planes: Tensor, **rules: Any) -> Callable[[], None]:
    """A call that gates all frames, one by one, with a new gate."""

    def call() -> None:
        gate = patchgate.Gate(patch=CELL, **rules)
        for frame in planes.split(1):
            gate.push(frame)

    return call


def clips(paths: list[str]) -> Iterator[tuple[str, Tensor]]:
    smooth = glide(FRAMES)
    yield "still", still(FRAMES)
    yield "noise of 2 grey levels", grain(smooth[:1].expand(FRAMES, -1, -1, -1), 2)
    yield "a pan by 1.25 pixels", smooth
    yield "a cut every frame", noise(FRAMES)
    held = smooth[:1].expand(FRAMES, -1, -1, -1)
    yield "a fade to a fifth", frame_gain(lambda t: 1 - 0.8 * t / FRAMES)(held)
    for path in paths:
        with patchgate.open_video(path, threads=1) as video:
            batch = next(iter(video))
        yield path.rsplit("/", 1)[-1], to_grid(batch, SIZE)[:FRAMES]


def row(name: str, planes: Tensor) -> dict[str, object]:
    """What one clip costs."""
    calls = {"without": pushed(planes), "with": pushed(planes, illumination="global")}
    seconds = harness.paired(calls, PAIRS)
    return {
        "clip": name,
        "us a frame without": round(1e6 * min(seconds["without"]) / len(planes)),
        "with, over that": round(harness.ratio(seconds["with"], seconds["without"]), 3),
        "aim": "" if name.startswith("a fade") else f"{AIM} at most",
    }


def main() -> None:
    torch.set_num_threads(1)
    table.publish("light", [row(*clip) for clip in clips(sys.argv[1:])], __doc__.split(":")[0])


if __name__ == "__main__":
    main()
