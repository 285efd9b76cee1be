"""What remembered pictures cost the gate, and what they save:
python benchmarks/memory.py [--quick | --times]

Times are medians of ratios of pairs in one run on one thread, with over without, at 378 x 378
pixels in colour; they are written to results/returns.json. Shares are tokens over cells, and are
written to results/returns_saved.json. PATCHGATE_CLIPS names a folder of clips; without it, those
that ship.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import harness
import table
import torch
from flicker import grain
from gpu.gate import flicker, glide, noise, still
from reading.clips import footage
from torch import Tensor

import patchgate
from patchgate import Gate
from patchgate.gate import CHANGED, RETURNED

MEMORIES = (1, 2, 4)
NOTHING = "1.03 at most"  # where nothing returns
ALL = "1.3 at most for each picture"  # where all fails
SIZE = (378, 378)
WINDOWS = (378, 504)  # the size at which windows are drawn


def pushed(frames: Tensor, chunk: int, memory: int | None) -> Callable[[], None]:
    """A call that gates all frames with a new gate."""

    def call() -> None:
        gate = Gate(memory=memory)
        for part in frames.split(chunk):
            gate.push(part)

    return call


def dialogue(length: int = 16) -> Tensor:
    """Two held pictures in turn, six shots."""
    a, b = noise(2).split(1)
    return torch.cat([one.expand(length, -1, -1, -1) for one in (a, b) * 3])


def times(frames: int, pairs: int) -> list[dict[str, object]]:
    """Rows of ratios of times, and what they should be at most."""
    grainy = grain(glide(1).expand(frames, -1, -1, -1), 2)
    clips = {
        "still, pushes of 32": (still(frames), 32, NOTHING),
        "still, frame by frame": (still(frames), 1, NOTHING),
        "noise of 2 grey levels, frame by frame": (grainy, 1, NOTHING),
        "a tenth changes, frame by frame": (flicker(frames), 1, NOTHING),
        "dialogue, pushes of 32": (dialogue(), 32, ""),
        "every cell of every frame fails, pushes of 32": (noise(frames // 2), 32, ALL),
        "every cell of every frame fails, frame by frame": (noise(frames // 2), 1, ALL),
    }
    rows = []
    for name, (video, chunk, aim) in clips.items():
        calls = {str(m): pushed(video, chunk, m) for m in (None, *MEMORIES)}
        seconds = harness.paired(calls, pairs)
        ratios = {f"memory={m}": harness.ratio(seconds[str(m)], seconds["None"]) for m in MEMORIES}
        each = 1e6 * min(seconds["None"]) / len(video)
        row = {"clip": name, "us a frame without": round(each), **rounded(ratios), "aim": aim}
        rows.append(row)
    return rows


def rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(number, 3) for name, number in numbers.items()}


def share(frames: Tensor, memory: int | None) -> tuple[float, int]:
    """The kept share, and the frames in which cells return."""
    gate, kept, back, cells = Gate(memory=memory), 0, 0, 1
    for part in frames.split(32):
        kind = gate.push(part).kind.flatten(1)
        kept += int((kind == CHANGED).sum())
        back += int((kind == RETURNED).any(1).sum())
        cells = kind.shape[1]
    return kept / (len(frames) * cells), back


def shares(clips: dict[str, Callable[[], Tensor]]) -> list[dict[str, object]]:
    """Rows of kept shares."""
    rows = []
    for name, opened in clips.items():
        frames = opened()
        found = {m: share(frames, m) for m in (None, *MEMORIES)}
        own = {f"memory={m}": found[m][0] for m in found}
        most = MEMORIES[-1]
        rows.append(
            {
                "clip": name,
                "frames": len(frames),
                **{key: round(value, 5) for key, value in own.items()},
                "ratio at most memory": round(found[most][0] / found[None][0], 3),
                "frames of returns": found[most][1],
            }
        )
    return rows


def decoded(path: Path) -> Tensor:
    """A clip on the grid, uint8 ``[T, 3, H, W]``."""
    with patchgate.open_video(path, threads=1) as video:
        return torch.cat([patchgate.grid.to_grid(batch, SIZE) for batch in video])


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few frames, no clips, no files")
    parser.add_argument("--times", action="store_true", help="times only")
    parser.add_argument("--out", type=Path, help="folder to write to; --quick: nothing is written")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    out = given.out or (None if given.quick else harness.RESULTS)

    def show(name: str, rows: list[dict[str, object]], title: str) -> None:
        table.show(rows, title)
        if out is not None:
            print(harness.write(out / f"{name}.json", rows))

    rows = times(64, 3) if given.quick else times(320, 15)
    show("returns", rows, "time, with memory over without")
    if given.times:
        return
    seeds = range(1 if given.quick else 6)
    clips: dict[str, Callable[[], Tensor]] = {
        f"windows {seed}": lambda seed=seed: footage("windows", "test", seed, WINDOWS).planes  # type: ignore[misc]
        for seed in seeds
    }
    clips["dialogue"] = dialogue
    if not given.quick:
        clips |= {path.name: lambda path=path: decoded(path) for path in harness.clips()}  # type: ignore[misc]
    show("returns_saved", shares(clips), "kept share")


if __name__ == "__main__":
    main()
