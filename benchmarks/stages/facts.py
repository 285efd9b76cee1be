"""The lines that a stage writes, one JSON object each.

stage, item     which item of which stage learnt it
device          the GPU's name, or "rehearsal"
date, commit    of the run
result          "passed", "failed", "stopped" (at a limit), "left out" (no time),
                "not available" (what it needs is not there)
why             of anything but "passed"
seconds         since the item began
kernel          the op that it is about, where it is about one
ran, equal      it came back; it gave what the CPU gives
us, floor us    microseconds, median and counted floor; more figures by their own names
"""

import datetime
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

REHEARSAL = "rehearsal"
GOOD = ("passed", "not available")


class Facts:
    """Appends to one stage's file: a whole line at a time, so that a killed run leaves lines."""

    def __init__(self, folder: Path, stage: str, device: str, commit: str) -> None:
        self._path = folder / f"{stage}.jsonl"
        date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
        self._common = {"stage": stage, "device": device, "date": date, "commit": commit}

    def add(self, item: str, fact: dict[str, Any]) -> dict[str, Any]:
        """Writes a fact and returns the line. What is empty is left out."""
        said = {name: value for name, value in fact.items() if value not in ("", None)}
        line = {**self._common, "item": item, **said}
        line.setdefault("result", "passed")
        # JSON has no NaN; and in ASCII no character of an error's text can end a line.
        told = {name: str(value) if no_number(value) else value for name, value in line.items()}
        with self._path.open("ab+") as file:
            if file.tell() and not ends_a_line(file):
                file.write(b"\n")
            file.write(json.dumps(told, allow_nan=False).encode() + b"\n")
        return line


def no_number(value: Any) -> bool:
    """NaN, or an infinity."""
    return isinstance(value, float) and not math.isfinite(value)


def ends_a_line(file: BinaryIO) -> bool:
    """Whether what is there was written to its end: a run may have been killed."""
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def read(path: Path, begin: int = 0) -> Iterator[dict[str, Any]]:
    """The facts of a file, from a byte of it on. A last line that was cut off is none."""
    for line in path.read_bytes()[begin:].decode("utf-8", "replace").splitlines():
        try:
            fact = json.loads(line)
        except json.JSONDecodeError:
            continue
        yield fact


def told(fact: dict[str, Any]) -> str:
    """A fact in a line for a terminal."""
    known = ("stage", "device", "date", "commit", "item", "result", "why", "kernel", "seconds")
    figures = ", ".join(f"{key} {value}" for key, value in fact.items() if key not in known)
    return f"{fact['stage']} {fact['result']:13} {fact['item']}" + "".join(
        f": {said}" for said in (fact.get("why"), figures) if said
    )
