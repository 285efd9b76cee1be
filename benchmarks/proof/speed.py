"""Where the time goes: stage by stage, in live streams, and how much memory it takes.

Same decoded frames in memory, same tower of random weights, same kernels; methods take turns, so
that a slow moment hits all alike. Every method on the first clip, those of which something is
claimed on all.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import harness
import numpy as np
import torch
from peers import rlt

from patchgate import FrameBatch, TokenChunk, Tokenizer, push_together
from patchgate.encoders.patch_grid import patch_rows
from patchgate.merging import MergeStream
from patchgate.pipeline import StageSeconds
from patchgate.pipeline.tubelets import part
from proof import equal, ways
from proof.frames import again, decoded
from proof.options import Options
from proof.ours import SHARE
from proof.towers import Sized
from proof.way import Done, timed

STAGES = ("grid", "gate", "compact", "gather", "encode", "merge")
STREAMS = {1: 12, 8: 4, 32: 2}  # so many at once, for so many ticks after the first
TICK = 4  # frames that each stream brings at a time
_FPS = 25.0  # of frames without times


def measure(options: Options) -> dict[str, list[dict[str, Any]]]:
    """All tables, over the clips of ``PATCHGATE_CLIPS`` or those that ship."""
    quick = options.quick
    tower = Sized("tiny/16-96" if quick else "SigLIP base/16-224")
    frames, rounds = (16, 1) if quick else (64, 3)
    clips = harness.clips()[: 1 if quick else None]
    counts = dict(list(STREAMS.items())[: 2 if quick else None])
    streams = [row for path in clips for row in in_streams(tower, path, frames, counts)]
    live = {"streams": [{"tower": tower.name, **row} for row in streams]}
    if options.streams:
        return live
    timed_ = [by_stage(tower, path, frames, rounds, path == clips[0]) for path in clips]
    return {
        "stages": [{"tower": tower.name, **row} for rows, _ in timed_ for row in rows],
        "at equal reading": [row for _, rows in timed_ for row in rows],
        **live,
        "memory": list(memory(tower.name, clips[0], frames, 2 if quick else None)),
    }


def by_stage(
    tower: Sized, path: Path, frames: int, rounds: int, every: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Milliseconds a frame of every method (or of the main ones), and what they come to; and RLT
    against ours at equal reading, if that has been measured.
    """
    batch = decoded(path, frames)
    at_equal_reading = equal.both(tower)
    methods = (ways.all_of if every else ways.main_of)(tower) | at_equal_reading
    runs: dict[str, list[tuple[Done, dict[str, float], float]]] = {}
    for _ in range(rounds + 1):  # the first warms
        for name, way in methods.items():
            runs.setdefault(name, []).append(timed(way, batch))
    seconds = {name: [spent for *_, spent in found[1:]] for name, found in runs.items()}
    cells = len(batch) * tower.cells[0] * tower.cells[1]
    rows = []
    for name, found in runs.items():
        done, kept = found[0][0], found[0][0].tokens / cells
        speedup = harness.ratio(seconds["dense"], seconds[name])
        rows.append({
            "clip": path.name, "method": name, "kept": round(kept, 4),
            **{stage: _ms([each[1].get(stage, 0.0) for each in found[1:]], len(batch))
               for stage in STAGES},
            "ms a frame": _ms(seconds[name], len(batch)),
            "speed-up": round(speedup, 2),
            "of the tower's work": round(done.flops / (tower.frame_flops * len(batch)), 4),
            "speed-up / token reduction": round(speedup * kept, 3),
        })  # fmt: skip
    if not at_equal_reading:
        return rows, []
    theirs, own = (seconds[name] for name in at_equal_reading)
    return rows, [equal.duel(rows, harness.ratio(theirs, own))]


def _ms(seconds: list[float], frames: int) -> float:
    return round(1e3 * median(seconds) / frames, 3)


# --- live streams -----------------------------------------------------------------------------


def in_streams(
    tower: Sized, path: Path, frames: int, counts: dict[int, int]
) -> Iterator[dict[str, Any]]:
    """C streams that each bring four frames at a time; all have shown their first frames."""
    film = decoded(path, frames)
    for count, ticks in counts.items():
        servers: dict[str, Callable[[list[FrameBatch]], Any]] = {
            "dense": partial(_dense, tower),
            "patchgate, residual": Gated(tower, count, tolerance=float("inf")),
            "patchgate, kept cells only": Gated(tower, count, context="kept"),
            "patchgate, merged": Merged(tower, count, tolerance=float("inf")),
            "RLT": Rlt(tower, count),
        }
        spent: dict[str, list[float]] = {name: [] for name in servers}
        for tick in range(ticks + 1):
            # Streams are not in step: each is elsewhere in the clip.
            arrived = [_at(film, tick * TICK + 7 * stream) for stream in range(count)]
            for name, serve in servers.items():
                start = time.perf_counter()
                with torch.inference_mode():
                    serve(arrived)
                spent[name].append(time.perf_counter() - start)
        for name, every in spent.items():
            later = np.array(every[1:])
            yield {
                "clip": path.name, "streams": count, "method": name,
                "frames/s": round(count * TICK / float(np.median(later)), 1),
                "of dense": round(harness.ratio(spent["dense"][1:], every[1:]), 2),
                "p50 ms a tick": round(1e3 * float(np.quantile(later, 0.5)), 1),
                "p99 ms a tick": round(1e3 * float(np.quantile(later, 0.99)), 1),
            }  # fmt: skip


def _at(film: FrameBatch, first: int) -> FrameBatch:
    """Frames of a clip that is shown again and again: their times would run back, so none have."""
    start = first % (len(film) - TICK + 1)
    some = part(film, start, start + TICK)
    unknown = torch.full_like(some.pts_seconds, torch.nan)
    return FrameBatch(some.planes, unknown, unknown, some.colour)


def _dense(tower: Sized, arrived: list[FrameBatch]) -> None:
    """All streams' frames in batches."""
    pixels = torch.cat([ways.prepared(tower, batch) for batch in arrived])
    ways.encoded(tower, pixels, StageSeconds().time)


class Gated:
    """Ours: gates of all streams in one call, and what they keep in one pass of the tower."""

    def __init__(self, tower: Sized, count: int, **settings: Any) -> None:
        gated = tower.gated(**settings)
        self._streams = [Tokenizer(gated, fps=_FPS) for _ in range(count)]

    def __call__(self, arrived: list[FrameBatch]) -> list[TokenChunk]:
        return push_together(dict(zip(self._streams, arrived, strict=True)))


class Merged(Gated):
    """And what each keeps of a tick is merged to a share, at once."""

    def __init__(self, tower: Sized, count: int, **settings: Any) -> None:
        super().__init__(tower, count, **settings)
        self._merge = [MergeStream(ratio=SHARE, window=TICK) for _ in range(count)]

    def __call__(self, arrived: list[FrameBatch]) -> list[TokenChunk]:
        chunks = super().__call__(arrived)
        for merge, chunk in zip(self._merge, chunks, strict=True):
            merge.push(chunk)
        return chunks


class Rlt:
    """RLT of each stream against its last frame, all kept patches in one call."""

    def __init__(self, tower: Sized, count: int) -> None:
        self._tower, self._gated = tower, tower.gated(context="kept")
        self._last: list[torch.Tensor | None] = [None] * count

    def __call__(self, arrived: list[FrameBatch]) -> None:
        pixels = [ways.prepared(self._tower, batch) for batch in arrived]
        keep = []
        for stream, own in enumerate(pixels):
            last = self._last[stream]
            known = own if last is None else torch.cat([last, own])
            keep.append(rlt.keep_mask(known, self._tower.patch)[-len(own) :])
            self._last[stream] = own[-1:]
        mask = torch.cat(keep)  # [T, h, w]
        index, cu_seqlens = ways.packed(mask)
        rows = patch_rows(torch.cat(pixels), self._tower.patch, index)
        self._gated.encode(rows, index % mask[0].numel(), cu_seqlens)


# --- memory -----------------------------------------------------------------------------------


def memory(tower: str, path: Path, frames: int, most: int | None) -> Iterator[dict[str, Any]]:
    """The most that each method takes above what was there before, in a process of its own."""
    for name in list(ways.all_of(Sized(tower)))[:most]:
        peak = harness.peak(_prepared, tower, name, path, frames)
        yield {"clip": path.name, "method": name, "MB above before": round(peak / 1e6)}


def _prepared(size: str, name: str, path: Path, frames: int) -> Callable[[], Any]:
    tower, batch = Sized(size), decoded(path, frames)
    way = ways.all_of(tower)[name]
    timed(way, again(batch, 1))  # loads what is loaded once
    return partial(timed, way, batch)
