"""What following the light costs the gate: python benchmarks/light.py [VIDEO...]

Times the gate with ``illumination="global"`` beside the gate without, in pairs of one run on one
thread, frame by frame: on clips whose light does not change (a still picture, noise, a pan, cuts;
real clips where they are named), and on a fade. Writes results/light.json: medians of the ratios of
pairs, and what they should be at most.

Letters: T frames.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import harness
import table
import torch
from flicker import CELL, frame_gain, grain
from gpu.gate import glide, noise, still
from torch import Tensor

import patchgate
from patchgate.grid import to_grid

SIZE = (378, 378)
AIM = 1.03  # where the light does not change


def pushed(planes: Tensor, **rules: Any) -> Callable[[], None]:
    """A call that gates all frames, one by one, with a new gate."""

    def call() -> None:
        gate = patchgate.Gate(patch=CELL, **rules)
        for frame in planes.split(1):
            gate.push(frame)

    return call


def clips(paths: Sequence[str], frames: int) -> Iterator[tuple[str, Tensor]]:
    smooth = glide(frames)
    yield "still", still(frames)
    yield "noise of 2 grey levels", grain(smooth[:1].expand(frames, -1, -1, -1), 2)
    yield "a pan by 1.25 pixels", smooth
    yield "a cut every frame", noise(frames)
    held = smooth[:1].expand(frames, -1, -1, -1)
    yield "a fade to a fifth", frame_gain(lambda t: 1 - 0.8 * t / frames)(held)
    for path in paths:
        with patchgate.open_video(path, threads=1) as video:
            batch = next(iter(video))
        yield path.rsplit("/", 1)[-1], to_grid(batch, SIZE)[:frames]


def row(name: str, planes: Tensor, pairs: int) -> dict[str, object]:
    """What one clip costs."""
    calls = {"without": pushed(planes), "with": pushed(planes, illumination="global")}
    seconds = harness.paired(calls, pairs)
    return {
        "clip": name,
        "us a frame without": round(1e6 * min(seconds["without"]) / len(planes)),
        "with, over that": round(harness.ratio(seconds["with"], seconds["without"]), 3),
        "aim": "" if name.startswith("a fade") else f"{AIM} at most",
    }


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("videos", nargs="*", metavar="VIDEO")
    parser.add_argument("--frames", type=int, default=100, help="of each clip")
    parser.add_argument("--pairs", type=int, default=15, help="of timed calls")
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "light.json")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    found = clips(given.videos, given.frames)
    rows = [row(name, planes, given.pairs) for name, planes in found]
    table.show(rows, parser.description or "")
    print(harness.write(given.out, rows))


if __name__ == "__main__":
    main()
