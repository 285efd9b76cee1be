"""What a worker does at once: a video, a span of a long one, or the joining of its spans."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from patchgate.corpus.journal import Task
from patchgate.corpus.names import SUFFIX

Result = dict[str, Any]
_FOLDER = ".spans-"  # hidden, in the corpus's folder, with the video's number


class Unit(NamedTuple):
    """What is handed to a worker."""

    task: Task
    told: dict[str, Any]  # what ``Worker.do`` gets
    span: int | None = None  # which span of the video it is


@dataclass
class _Long:
    """A video of which spans are being made."""

    files: list[str]
    done: dict[int, Result] = field(default_factory=dict)


class Units:
    """Follows what came of units, and what is to be done next because of it.

    Args:
        folder: the corpus's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._long: dict[int, _Long] = {}

    def whole(self, task: Task) -> Unit:
        """Returns the unit of a video that nobody has looked at."""
        return Unit(task, task._asdict())

    def wanted(self, unit: Unit) -> bool:
        """Whether a unit is still to be done: no other span of its video has failed."""
        return unit.span is None or unit.task.number in self._long

    def came(self, unit: Unit, result: Result) -> tuple[list[Unit], Result | None]:
        """Notes what came of a unit.

        Returns:
            The units that follow from it, and the result of its video, if that is finished.
        """
        if result["status"] == "split":
            return self._cut(unit.task, result["cuts"]), None
        if unit.span is None:
            self._forget(unit.task)
            return [], result
        long = self._long.get(unit.task.number)
        if long is None:  # another span of it has failed
            self._forget(unit.task)
            return [], None
        if result["status"] == "failed":
            self._forget(unit.task)
            return [], result
        long.done[unit.span] = result
        if len(long.done) < len(long.files):
            return [], None
        return [self._join(unit.task, long)], None

    def _cut(self, task: Task, cuts: Sequence[Sequence[float | None]]) -> list[Unit]:
        folder = f"{_FOLDER}{task.number}"
        files = [f"{folder}/{span}{SUFFIX}" for span in range(len(cuts))]
        self._long[task.number] = _Long(files)
        return [
            Unit(task, {**task._asdict(), "file": file, "start": start, "end": end, "is_span": True,
                        "replace": True}, span)
            for span, (file, (start, end)) in enumerate(zip(files, cuts, strict=True))
        ]  # fmt: skip

    def _join(self, task: Task, long: _Long) -> Unit:
        spans = [long.done[span] for span in range(len(long.files))]
        warned = [each["warnings"] for each in spans if each["warnings"]]
        told = {
            "join": long.files,
            "warned": list(dict.fromkeys(warned)),
            "took_seconds": sum(each["took_seconds"] for each in spans),
        }
        return Unit(task, {**task._asdict(), **told})

    def _forget(self, task: Task) -> None:
        self._long.pop(task.number, None)
        shutil.rmtree(self._folder / f"{_FOLDER}{task.number}", ignore_errors=True)


def sweep(folder: Path) -> None:
    """Removes the spans of a job that was killed. Only who has the journal's lock may do it."""
    for each in _left(folder):
        shutil.rmtree(each, ignore_errors=True)


def _left(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob(f"{_FOLDER}*") if path.is_dir())
