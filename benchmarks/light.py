"""What following the light costs the gate: python benchmarks/light.py [VIDEO...]

Times the gate with ``illumination="global"`` beside the gate without, in pairs of one run, and
prints the ratio of the medians: on clips whose light does not change (a still picture, noise, a
pan, cuts; real clips where they are named), and on a fade. Each frame is one push.

Letters: T frames.
"""

import statistics
import sys
import time
from collections.abc import Iterator

import harness
import torch
from commit import commit
from flicker import CELL, frame_gain, grain
from gpu.gate import glide, noise, still
from torch import Tensor

import patchgate
from patchgate.grid import to_grid

FRAMES, PAIRS, SIZE = 40, 9, (378, 378)


def seconds(planes: Tensor, **rules: str) -> float:
    """A clip through a fresh gate, frame by frame, without its first frame."""
    gate = patchgate.Gate(patch=CELL, **rules)  # type: ignore[arg-type]
    gate.push(planes[:1])
    begin = time.perf_counter()
    for t in range(1, len(planes)):
        gate.push(planes[t : t + 1])
    return time.perf_counter() - begin


def clips(paths: list[str]) -> Iterator[tuple[str, Tensor]]:
    smooth = glide(FRAMES)
    yield "still", still(FRAMES)
    yield "noise of 2 grey levels", grain(smooth[:1].expand(FRAMES, -1, -1, -1), 2)
    yield "a pan by 1.25 pixels", smooth
    yield "a cut every frame", noise(FRAMES)
    yield (
        "a fade to a fifth",
        frame_gain(lambda t: 1 - 0.8 * t / FRAMES)(smooth[:1].expand(FRAMES, -1, -1, -1)),
    )
    for path in paths:
        with patchgate.open_video(path, threads=1) as video:
            batch = next(iter(video))
        yield path.rsplit("/", 1)[-1], to_grid(batch, SIZE)[:FRAMES]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"{harness.cpu_model()}, 1 thread, torch {torch.__version__}, commit {commit()}")
    print("| clip | ms a frame without | with, over that |\n|---|---|---|")
    for name, planes in clips(sys.argv[1:]):
        pairs = [(seconds(planes), seconds(planes, illumination="global")) for _ in range(PAIRS)]
        without, with_light = (statistics.median(each) for each in zip(*pairs, strict=True))
        print(f"| {name} | {1e3 * without / (len(planes) - 1):.3f} | {with_light / without:.3f} |",
              flush=True)  # fmt: skip
