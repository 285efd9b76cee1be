"""What can still be read, against tokens and work: python benchmarks/reading/curve.py [--quick]

Every test clip is thinned by every method, and each reader reads what is left. Writes
reading.json, reading.md and reading.png. --quick: few clips and methods, to see that it runs.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness

from reading import methods, page, plot, tables, viewers
from reading.clips import footage
from reading.questions import ask
from reading.scenes import SCENES
from reading.score import Cost, Row
from reading.trial import Task, fewer, rows_of

WORKERS = 2
ROWS = harness.ROOT / "build" / "reading" / "rows.json"  # of the last run, to draw anew
QUICK_SCENES, QUICK_SECONDS = ("slides", "subtitles-small", "scroll", "windows"), 3.0


class Done(NamedTuple):
    """A run."""

    provenance: dict[str, Any]
    rows: list[Row]
    recorded: list[dict[str, Any]]  # rows of real.py; none if its video is not there


def main() -> None:
    wanted = arguments()
    if wanted.redraw:
        done = load(ROWS)
    else:
        start = time.perf_counter()
        before = load(ROWS) if wanted.add else None
        rows = list(run(tasks(wanted), wanted.reader, wanted.quick))
        recorded = [] if wanted.quick or wanted.reader == "vit" else recording()
        spent = {"threads": WORKERS, "seconds": round(time.perf_counter() - start)}
        done = joined(Done(harness.provenance() | spent, rows, recorded), before)
        store(ROWS, done)
    publish(wanted.out, done)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few clips, few methods")
    parser.add_argument("--reader", choices=(*viewers.VIEWERS, "both"), default="both")
    parser.add_argument("--clips", type=int, default=2, help="of each scene")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each clip")
    parser.add_argument("--scenes", nargs="+", choices=tuple(SCENES), default=tuple(SCENES))
    parser.add_argument("--out", type=Path, default=harness.RESULTS, help="a folder")
    parser.add_argument("--add", action="store_true", help="to the last run, another reader")
    parser.add_argument("--redraw", action="store_true", help="tables and plot of the last run")
    return parser.parse_args()


def tasks(wanted: argparse.Namespace) -> list[Task]:
    """The clips."""
    if wanted.quick:
        return [Task(scene, 0, QUICK_SECONDS) for scene in QUICK_SCENES]
    return [
        Task(scene, seed, wanted.seconds) for scene in wanted.scenes for seed in range(wanted.clips)
    ]


# --- running ----------------------------------------------------------------------------------


def run(clips: Sequence[Task], reader: str, quick: bool) -> Iterator[Row]:
    """Rows of all clips in their order, two clips at a time."""
    names = tuple(viewers.VIEWERS) if reader == "both" else (reader,)
    for name in names:
        viewers.load(name)  # what is missing is said here, once
    return harness.spread(partial(one, names, quick), clips, WORKERS, "clips")


def one(names: Sequence[str], quick: bool, task: Task) -> list[Row]:
    """All rows of one clip, in a worker."""
    chosen = methods.FEW if quick else (*methods.OURS, *methods.PEERS)
    found: list[Row] = []
    for viewer in (viewer for name in names for viewer in loaded(name)):
        film = footage(task.scene, "test", task.seed, viewer.size, task.seconds)
        questions = fewer(ask(film.truth, task.seed))
        found += rows_of(viewer, film, questions, (methods.Dense(), *chosen))
    return found


loaded = cache(viewers.load)


def recording() -> list[dict[str, Any]]:
    """Rows of the real recording, if the folder of clips has it."""
    from reading import real  # needs rapidocr

    video = harness.clip_folder() / real.VIDEO
    return real.rows(video) if video.exists() else []


def joined(done: Done, before: Done | None) -> Done:
    """With the other readers of an earlier run."""
    if before is None:
        return done
    own = {row.reader.split(",")[0] for row in done.rows}  # in all its variants
    first, second = before.provenance, done.provenance
    told = {name: f"{first[name]}, then {second[name]}" for name in ("commit", "command")}
    seconds = first["seconds"] + second["seconds"]
    rows = [*(row for row in before.rows if row.reader.split(",")[0] not in own), *done.rows]
    recorded = done.recorded or before.recorded
    return Done(second | told | {"seconds": seconds}, rows, recorded)


# --- writing ----------------------------------------------------------------------------------


def store(path: Path, done: Done) -> None:
    """All rows, to draw anew: too many to publish."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = done._asdict() | {"rows": [asdict(row) for row in done.rows]}
    path.write_text(json.dumps(content))


def load(path: Path) -> Done:
    """What ``store`` wrote."""
    if not path.exists():
        sys.exit(f"{path} is not there: run without --redraw first")
    content = json.loads(path.read_text())
    rows = [Row(**{**row, "cost": Cost(**row["cost"])}) for row in content.pop("rows")]
    return Done(**content, rows=rows)


def publish(out: Path, done: Done) -> None:
    """reading.json, reading.md and reading.png."""
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "provenance": done.provenance,
        "rows": tables.summary(done.rows),
        "recording": done.recorded,
    }
    (out / "reading.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    (out / "reading.md").write_text(page.text(done.rows, done.provenance, done.recorded))
    plot.draw(done.rows, out / "reading.png")


if __name__ == "__main__":
    main()
