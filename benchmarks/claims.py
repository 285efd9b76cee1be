"""The figures that the README quotes: python benchmarks/claims.py [section ...]

Each section measures its variants in turn, in one run, and prints ratios of medians of pairs.
PATCHGATE_CLIPS names a folder of clips; without it the clips that ship are used.
"""

import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gate as gate_frames
import harness
import table
import torch
from peers import rlt

import patchgate
from patchgate import grid
from patchgate.pipeline import StageSeconds, token_chunks
from patchgate.pipeline.fitting import sized_gate
from patchgate.report.survey import largest_error, largest_limit

Row = dict[str, object]
SIDE, CELLS = 378, 27 * 27


def seconds(call: Callable[[], object]) -> float:
    """Median of several calls."""
    return statistics.median(harness.paired({"": call})[""])


def pushes(frames: torch.Tensor, **settings: object) -> Callable[[], object]:
    gate = gate_frames.warmed_gate(frames, **settings)
    return lambda: gate.push(frames)


def zero_test() -> Iterator[Row]:
    """search_radius=0 against a vectorised plain-torch RLT mask, and against the copy roofline."""
    frames = gate_frames.still(gate_frames.FRAMES)
    floats = gate_frames.normalised(frames)
    times = harness.paired(
        {
            "ours": pushes(frames, search_radius=0),
            "rlt": lambda: rlt.keep_mask(floats, gate_frames.PATCH),
        }
    )
    bytes_read = 2 * frames.numel()  # the frame and the reference; a still picture writes nothing
    floor = bytes_read / harness.copy_bandwidth()
    yield row("us a frame, search_radius=0", 1e6 * statistics.median(times["ours"]) / len(frames))
    yield row("us a frame, RLT mask in plain torch", 1e6 * statistics.median(times["rlt"]) / 64)
    yield row("times faster than RLT", harness.ratio(times["rlt"], times["ours"]), ">= 10")
    yield row("us a frame, bytes read over copy bandwidth", 1e6 * floor / len(frames))


def search() -> Iterator[Row]:
    """What search_radius=8 adds: on a still camera, a searched cell, when all cells search."""
    for share, target in ((0.0, "<= 1.3"), (0.004, "<= 1.3"), (0.1, "")):
        frames = gate_frames.flicker(gate_frames.FRAMES, share)
        times = harness.paired(
            {name: pushes(frames, search_radius=r) for name, r in (("0", 0), ("8", 8))}
        )
        yield row(
            f"time of radius 8 over radius 0, {share:.1%} of the cells change",
            harness.ratio(times["8"], times["0"]),
            target,
        )
        extra = statistics.median(times["8"]) - statistics.median(times["0"])
        searched = share * CELLS * (len(frames) - 1)
        if share > 0.01:
            yield row("ns a searched cell (2 threads)", 1e9 * extra / searched)
    frames = gate_frames.noise(16)
    torch.set_num_threads(1)
    for on_motion in ("encode", "camera", "reuse"):
        spent = seconds(pushes(frames, on_motion=on_motion, scene_cut=None))
        name = f"frames/s, one thread, every cell searches, on_motion={on_motion}"
        yield row(name, len(frames) / spent, ">= 400")
    torch.set_num_threads(harness.THREADS)


def tokenize() -> Iterator[Row]:
    """Frames/s of tokenize against decoding alone, on the same threads, for every 720p clip."""
    for path in harness.clips():
        with patchgate.open_video(path) as video:
            if video.height != 720 or video.codec != "h264":
                continue
        stages = StageSeconds()
        frames = count_frames(path)
        times = harness.paired(
            {
                "decode": lambda path=path: count_frames(path),
                "tokenize": lambda path=path, stages=stages: run_tokenize(path, stages),
            }
        )
        rounds = len(times["decode"]) + 1
        yield row(
            f"{path.name}: frames/s of decoding alone", frames / statistics.median(times["decode"])
        )
        yield row(
            f"{path.name}: frames/s of tokenize", frames / statistics.median(times["tokenize"])
        )
        share = harness.ratio(times["decode"], times["tokenize"])
        yield row(f"{path.name}: share of the decode rate", share, ">= 0.5, aim 0.8")
        for stage, spent in stages.seconds.items():
            yield row(f"{path.name}: ms a frame, {stage}", 1e3 * spent / rounds / frames)


def count_frames(path: Path) -> int:
    with patchgate.open_video(path, threads=harness.THREADS) as video:
        return sum(len(batch) for batch in video)


def run_tokenize(path: Path, stages: StageSeconds) -> None:
    with patchgate.open_video(path, threads=harness.THREADS) as video:
        for _ in token_chunks(video, sized_gate(None, SIDE), stages):
            pass


def guarantee() -> Iterator[Row]:
    """Kept share per clip and rule; the worst sub-block of the reconstruction over its limit."""
    for path in harness.clips():
        with patchgate.open_video(path) as video:
            frames = torch.cat([grid.to_grid(batch, (SIDE, SIDE)) for batch in video][:20])
        for on_motion in ("encode", "camera", "reuse"):
            gate = patchgate.Gate(size=SIDE, on_motion=on_motion)
            tokens = patchgate.tokenize(path, gate=gate)
            kept = float((tokens.kind[: len(frames)] == 2).float().mean())
            yield row(f"{path.name}: kept share, {on_motion}, first {len(frames)} frames", kept)
            rebuilt = tokens.reconstruct()[: len(frames)]
            worst = largest_error(frames, rebuilt, gate) / largest_limit(gate)
            yield row(f"{path.name}: worst sub-block over its limit", worst, "<= 1")


def row(what: str, value: float, target: str = "") -> Row:
    return {"what": what, "value": round(value, 4 if value < 10 else 1), "target": target}


SECTIONS = {
    "zero_test": zero_test,
    "search": search,
    "tokenize": tokenize,
    "guarantee": guarantee,
}


def main(names: list[str]) -> None:
    torch.set_num_threads(harness.THREADS)
    for name in names or SECTIONS:
        table.publish(name, list(SECTIONS[name]()), f"{name}: {SECTIONS[name].__doc__}")


if __name__ == "__main__":
    main(sys.argv[1:])
