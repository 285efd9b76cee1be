"""What grows with what: frames a second, resolution, length. Cost should grow with change.

Letters: T frames, N cells.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
import torch
from peers import rlt

import patchgate
from patchgate import FrameBatch
from patchgate.pipeline import StageSeconds, token_chunks
from proof import ways
from proof.frames import decoded, parts, picked
from proof.length import against_length
from proof.options import Options
from proof.ours import ours
from proof.towers import Sized
from proof.way import timed

RATES = (1, 2, 5, 10, 15, 30, 60)
SIZES = ((224, 224), (336, 336), (448, 448), (672, 672), (896, 896), (1078, 1918))
SECONDS_LONG = (10, 100, 1000, 7200)
WATCHED = 4  # seconds of video for rates and sizes


def measure(options: Options) -> dict[str, list[dict[str, Any]]]:
    """All tables, on the first clip of the folder."""
    path, quick = harness.clips()[0], options.quick
    tower = Sized("tiny/16-96" if quick else "SigLIP base/16-224")
    return {
        "frames a second": list(against_rate(tower, path, (5, 30) if quick else RATES)),
        "resolution": list(against_size(path, SIZES[:2] if quick else SIZES)),
        "length": list(against_length(path, SECONDS_LONG[: 1 if quick else None])),
    }


def against_rate(tower: Sized, path: Path, rates: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """The same seconds of video, looked at so often; above its own rate frames are repeated."""
    film = _watched(path)
    for rate in rates:
        batch = at_rate(film, rate)
        row: dict[str, Any] = {"clip": path.name, "tower": tower.name, "frames a second": rate}
        methods = {"dense": ways.dense(tower), "RLT": ways.before(tower, "RLT", context="kept"),
                   "patchgate": ours(tower, tolerance=float("inf"))}  # fmt: skip
        for name, way in methods.items():
            timed(way, batch)  # warm
            done, _, seconds = timed(way, batch)
            row |= {f"{name}, tokens a second": round(done.tokens / WATCHED),
                    f"{name}, ms a second": round(1e3 * seconds / WATCHED)}  # fmt: skip
        yield row


def _watched(path: Path) -> FrameBatch:
    """The first seconds of a clip, at its own rate."""
    one = decoded(path, 2)
    fps = 1 / float(one.duration_seconds[0])
    return decoded(path, round(WATCHED * fps))


def at_rate(film: FrameBatch, rate: int) -> FrameBatch:
    """What is shown at every ``1 / rate`` seconds of it."""
    begin = float(film.pts_seconds[0])
    times = begin + torch.arange(WATCHED * rate, dtype=torch.float64) / rate
    shown = torch.searchsorted(film.pts_seconds, times + 1e-6, right=True) - 1  # [T]
    return picked(film, shown)


def against_size(path: Path, sizes: tuple[tuple[int, int], ...]) -> Iterator[dict[str, Any]]:
    """Without a tower, which no CPU runs at 1080p: grid, gate and the kept cells' pixels."""
    film = _watched(path)
    for size in sizes:
        start, stages, tokens = time.perf_counter(), StageSeconds(), 0
        for chunk in token_chunks(InMemory(film), patchgate.Gate(size=size), stages):
            tokens += len(chunk.frame)
        seconds = time.perf_counter() - start
        normal = torch.rand(9, 3, *size)
        start = time.perf_counter()
        rlt.keep_mask(normal, 14)
        theirs = (time.perf_counter() - start) / 8
        yield {
            "clip": path.name, "size": f"{size[0]} x {size[1]}", "pixels": size[0] * size[1],
            "cells a frame": size[0] // 14 * (size[1] // 14),
            "tokens a frame": round(tokens / len(film), 1),
            "ms a frame": round(1e3 * seconds / len(film), 3),
            "ms a frame, gate": round(1e3 * stages.seconds["gate"] / len(film), 3),
            "ms a frame, RLT's mask": round(1e3 * theirs, 3),
        }  # fmt: skip


class InMemory:
    """Decoded frames as a source of batches."""

    threads = 1

    def __init__(self, film: FrameBatch) -> None:
        self._film = film

    def __iter__(self) -> Iterator[FrameBatch]:
        return parts(self._film, 16)
