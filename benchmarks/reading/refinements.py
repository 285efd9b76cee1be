"""What refinements of the gate would gain: python benchmarks/reading/refinements.py [--quick]

Each is tried on the scenes that it is meant for and on others, read by PP-OCR, beside our default
and the adjacent gate tuned on every clip. Prints a table and writes reading_refinements.json.
--quick: one short clip, nothing written, to see that it runs.
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

import patchgate
from patchgate.colour import yuv_to_rgb
from patchgate.grid import to_grid
from reading import clips, viewers
from reading.looks import Look
from reading.methods import PEERS, Adjacent, AdjacentSubBlocks, Dense, Method, Seen, Trace, ours
from reading.questions import Question, ask
from reading.refined import Rebuilt, Refined
from reading.score import ENOUGH
from reading.tables import number
from reading.trial import Said, Task, Viewer, fewer, marks
from reading.truth import SCREEN, Clip
from reading.viewers import OnPictures

WORKERS, SEEDS, SECONDS = 2, 2, 4.0
QUICK = Task("windows", 0, 1.5)
DIMMED, DARKEST = "slides, dimmed", 0.4  # a scene of our own: the lights go down and up again
SCENES = ("fade", DIMMED, "pan", "zoom", "scroll", "windows", "slides")
METHODS: tuple[Method, ...] = (
    ours(),
    ours(sub_blocks=4, threshold=12),
    ours(sub_blocks=8, threshold=16),
    *(Refined(name) for name in ("weighted", "weighted per cell")),
    *(Refined(f"recalled, {depth}") for depth in (1, 2, 4)),
    ours(motion_precision=4),
    ours(motion_precision=4, sub_blocks=4, threshold=24),
)
TUNED = "adjacent, tuned per clip"
WIDTH = 100  # of the table: a file or a pipe would get 80, and names cut off
COLUMNS = ("scene", "method", "retained", "tokens/s", "of default", "of adjacent")


@dataclass(frozen=True)
class Tried:
    """A method on a clip."""

    scene: str
    method: str
    retained: float  # questions
    dense: float  # right from the dense video
    tokens: float
    seconds: float  # of the clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one short clip, nothing written")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=SCENES)
    wanted = parser.parse_args()
    torch.set_num_threads(WORKERS)  # as many as the workers have together: provenance tells it
    clips_ = [Task(scene, seed, SECONDS) for scene in wanted.scenes for seed in range(SEEDS)]
    rows = list(summary(run([QUICK] if wanted.quick else clips_)))
    show(rows)
    if not wanted.quick:
        harness.save("reading_refinements", rows)


# --- running ----------------------------------------------------------------------------------


def run(tasks: Sequence[Task]) -> list[Tried]:
    """All clips in their order, two at a time."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, context, torch.set_num_threads, (1,)) as pool:
        done = track(pool.map(one, tasks), "clips", len(tasks), console=Console(stderr=True))
        return [tried for clip in done for tried in clip]


def one(task: Task) -> list[Tried]:
    """All methods on one clip, in a worker."""
    film = dimmed(task) if task.scene == DIMMED else footage(task)
    exam = Exam(task.scene, reader(), film, fewer(ask(film.truth, task.seed)))
    return [*(exam.mark(method) for method in METHODS), *exam.tuned()]


class Exam:
    """A clip, its questions, and what the dense video answers."""

    def __init__(
        self, scene: str, viewer: Viewer, film: clips.Footage, questions: Sequence[Question]
    ) -> None:
        self._scene, self._viewer, self._film, self._questions = scene, viewer, film, questions
        self._seen = Seen(film.planes, film.truth.fps, film.matrix)
        self._dense = marks(viewer, film, self._seen, questions, Dense()).right

    def mark(self, method: Method, name: str = "") -> Tried:
        """What a method retains, and what it spends."""
        marked = marks(self._viewer, self._film, self._seen, self._questions, method)
        retained, dense = (marked.right * self._dense).sum(), self._dense.sum()
        name = name or f"{method.family}: {method.setting}"
        cost = marked.cost
        return Tried(self._scene, name, float(retained), float(dense), cost.tokens, cost.seconds)

    def tuned(self) -> Iterator[Tried]:
        """The adjacent gate at the setting of the sweep that retains enough with least tokens."""
        sweep = [method for method in PEERS if isinstance(method, Adjacent | AdjacentSubBlocks)]
        spent = {method: method.traces(self._seen)[0].tokens for method in sweep}
        for method in sorted(sweep, key=spent.__getitem__):
            found = self.mark(method, TUNED)
            if found.retained >= ENOUGH * found.dense:
                yield found
                return


class OnRebuilt(OnPictures):
    """A reader shown the pictures that a trace brings, or else those that its vectors say."""

    def read(self, footage: Any, method: Method, trace: Trace, looks: Sequence[Look]) -> Said:
        if not isinstance(trace, Rebuilt):
            return super().read(footage, method, trace, looks)
        return Said(self.reader.read(Shown(trace, footage.matrix), looks))


@dataclass(frozen=True)
class Shown:
    """The pictures of a trace, as readers want them."""

    trace: Rebuilt
    matrix: Any

    def rgb(self, frame: int) -> torch.Tensor:
        return yuv_to_rgb(self.trace.pictures[frame], self.matrix)


@cache
def reader() -> OnRebuilt:
    (plain,) = viewers.load("ocr")
    return OnRebuilt(plain.name, plain.size, plain.reader)


# --- clips ------------------------------------------------------------------------------------


def footage(task: Task) -> clips.Footage:
    return clips.footage(task.scene, "test", task.seed, SCREEN, task.seconds)


def dimmed(task: Task) -> clips.Footage:
    """Slides while the lights go down over half the clip, and up again: a frame-wide fade."""
    clip = clips.render("slides", "test", task.seed, SCREEN, task.seconds)
    light = 1 - (1 - DARKEST) * (1 - np.abs(np.linspace(-1, 1, len(clip.frames))))
    frames = np.rint(clip.frames * light[:, None, None, None]).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dimmed.mp4"
        clips.encode(frames, clip.fps, path)
        return decoded(clip, path)


def decoded(clip: Clip, path: Path) -> clips.Footage:
    with patchgate.open_video(path, threads=1, errors="raise") as video:
        batches = list(video)
    planes = torch.cat([to_grid(batch, SCREEN) for batch in batches])
    return clips.Footage(clip.without_frames(), planes, batches[0].colour.matrix)


# --- showing ----------------------------------------------------------------------------------


def summary(tried: Sequence[Tried]) -> Iterator[dict[str, Any]]:
    """One row per scene and method, over its clips; shares of the default's tokens, of the rest."""
    for scene in dict.fromkeys(each.scene for each in tried):
        own = [each for each in tried if each.scene == scene]
        by = {name: [each for each in own if each.method == name]
              for name in dict.fromkeys(each.method for each in own)}  # fmt: skip
        clips_ = len(by["patchgate: default"])
        for name, found in by.items():
            tokens, seconds = (
                sum(getattr(each, k) for each in found) for k in ("tokens", "seconds")
            )
            yield {
                "scene": scene,
                "method": name,
                "clips": len(found),
                "questions": round(sum(each.dense for each in found)),
                "retained": number(sum(e.retained for e in found) / sum(e.dense for e in found)),
                "tokens/s": round(tokens / seconds),
                "of default": _share(tokens, by["patchgate: default"], len(found) == clips_),
                "of adjacent": _share(tokens, by.get(TUNED, []), len(by.get(TUNED, [])) == clips_),
            }


def _share(tokens: float, of: Sequence[Tried], comparable: bool) -> float | str:
    """A dash where the two were not measured on the same clips."""
    return number(tokens / sum(each.tokens for each in of)) if comparable else "-"


def show(rows: Sequence[dict[str, Any]]) -> None:
    table = Table()
    for name in COLUMNS:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(str(row[name]) for name in COLUMNS))
    Console(width=WIDTH).print(table)


if __name__ == "__main__":
    main()
