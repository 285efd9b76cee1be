"""The gate as ``patchgate.Gate`` calls it: cameras side by side, and pictures that come back.

Letters: S cameras, T frames.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpu import Case, counted
from gpu.floors import Work
from patchgate import Gate, GateResult
from patchgate.encoders.run.together import Steps, together
from patchgate.gate.step import GateStep

CELLS, CELL = 27 * 27, 14
MEMORY, PUSH = 2, 8  # remembered pictures; frames of a push


def cameras_case(video: Tensor, cameras: int, changed: float) -> Case:
    """A frame of each of so many cameras, all at once; beside it, one after another.

    Args:
        video: ``[T, 3, H, W]``, of every camera.
        changed: the share of the cells that change in a frame.
    """
    videos = video[None].repeat(cameras, 1, 1, 1, 1)
    count = counted.gate(len(video), CELLS, CELL, changed, searched=changed, radius=8)
    name = f"{cameras} cameras x {len(video)} frames, a push each"
    work = Work(*(cameras * each for each in count))
    return Case(
        "gate", name, work, (videos,), side_by_side, baseline=in_turn, mode="gates of cameras"
    )


def side_by_side(videos: Tensor) -> list[Tensor]:
    """New gates, whose pushes are made together, frame by frame. ``videos [S, T, 3, H, W]``."""
    gates = [Gate() for _ in videos]
    results = []
    for t in range(videos.shape[1]):
        steps = [_step(gate, own[t : t + 1]) for gate, own in zip(gates, videos, strict=True)]
        results += together(steps)
    return _of(results)


def in_turn(videos: Tensor) -> list[Tensor]:
    """The same pushes, each on its own."""
    gates = [Gate() for _ in videos]
    pushes = (
        gate.push(own[t : t + 1])
        for t in range(videos.shape[1])
        for gate, own in zip(gates, videos, strict=True)
    )
    return _of(list(pushes))


def _step(gate: Gate, planes: Tensor) -> Steps[GateResult]:
    return (yield GateStep(gate, planes))


def memory_case(pictures: Tensor, shots: int, length: int) -> Case:
    """Held pictures in turn, by a gate that remembers them; beside it, by one that does not.

    Args:
        pictures: ``[2, 3, H, W]``, of which every cell differs.
        shots, length: how often one of them is shown, and for how many frames.
    """
    order = torch.arange(shots) % len(pictures)
    video = pictures[order].repeat_interleave(length, 0)  # [T, 3, H, W]
    frames = len(video)
    changed = len(pictures) / frames
    count = counted.gate(frames, CELLS, CELL, changed, searched=shots / frames, radius=8)
    pixels = 3 * CELLS * CELL**2
    # At a turn: the reference and the pictures are compared, and the frame is gated again.
    more = (shots - 1) * (MEMORY + 2) * 2 * pixels
    name = f"{shots} shots of {length} frames, memory={MEMORY}"
    return Case(
        "gate", name, count._replace(bytes=count.bytes + more), (video,), remembering,
        baseline=forgetting, mode="gate with memory",
    )  # fmt: skip


def remembering(video: Tensor) -> list[Tensor]:
    """A new gate with memory, in pushes. ``video [T, 3, H, W]``."""
    return _pushed(Gate(memory=MEMORY), video)


def forgetting(video: Tensor) -> list[Tensor]:
    """The same without memory."""
    return _pushed(Gate(), video)


def _pushed(gate: Gate, video: Tensor) -> list[Tensor]:
    return _of([gate.push(part) for part in video.split(PUSH)])


def _of(results: Sequence[GateResult]) -> list[Tensor]:
    """What all of them say, one after another."""
    return [torch.cat(each) for each in zip(*results, strict=True)]
