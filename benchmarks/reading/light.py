"""What can be read of pictures in another light: python benchmarks/reading/light.py

``Gate(illumination="global")`` lets a token stand for its cell in another light. Here whole
pictures of the rendered clips are shown in other lights than their own, and both readers are asked
the questions about text: a token that was encoded in that light says what is read there. The shares
are of the answers that are right in the pictures' own light.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
import table
import torch
from torch import Tensor

from reading.clips import footage
from reading.questions import ask
from reading.scenes import SCENES
from reading.trial import fewer
from reading.viewers import VIEWERS, load

SECONDS = 4.0
WITH_TEXT = ("slides", "lecture", "subtitles-large", "fade", "scroll", "windows")
LEAST, MOST = 7 / 10, 10 / 7  # the bound of docs/gate.md


def scaled(gain: float, offset: float = 0.0) -> Callable[[Tensor], Tensor]:
    """Every RGB sample times the gain, and the offset added."""
    return lambda x: gain * x + offset


LIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "gain 0.9": scaled(0.9),
    "gain 0.7, the bound": scaled(LEAST),
    "towards white, gain 0.7": scaled(LEAST, 255 * (1 - LEAST)),
    "gain 1.43, the bound": scaled(MOST, 255 * (1 - MOST) / 2),  # about mid-grey
    "gain 0.5": scaled(0.5),
    "gain 0.25": scaled(0.25),
    "towards white, gain 0.25": scaled(0.25, 255 * 0.75),
}


class Relit(NamedTuple):
    """Footage in another light."""

    footage: Any
    light: Callable[[Tensor], Tensor]

    def rgb(self, t: int | slice) -> Tensor:
        """As ``Footage.rgb``."""
        lit = self.light(self.footage.rgb(t).float())
        return lit.round().clamp(0, 255).to(torch.uint8)


class Task(NamedTuple):
    """A reader and a clip."""

    reader: str
    scene: str
    seed: int


def of_clip(task: Task) -> list[dict[str, Any]]:
    """How many of a clip's questions are answered right, in each light."""
    viewer = load(task.reader)[0]
    film = footage(task.scene, "test", task.seed, viewer.size, SECONDS)
    asked = [q for q in fewer(ask(film.truth, task.seed)) if all(x.kind == "text" for x in q.looks)]
    if not asked:
        return []
    row: dict[str, Any] = {"reader": task.reader, "asked": len(asked)}
    row["own light"] = right(viewer, film, asked)
    for name, light in LIGHTS.items():
        row[name] = right(viewer, Relit(film, light), asked)
    return [row]


def right(viewer: Any, pictures: Any, asked: Sequence[Any]) -> int:
    """How many questions a reader answers right of pictures."""
    looks = list(dict.fromkeys(look for q in asked for look in q.looks))
    said = dict(zip(looks, viewer.reader.read(pictures, looks), strict=True))
    return sum(q.answer_from([said[look] for look in q.looks]) == q.answer for q in asked)


def retained(rows: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each reader: its right answers in each light over those in the pictures' own."""
    for reader, own in harness.grouped(rows, lambda row: str(row["reader"])).items():
        base = sum(row["own light"] for row in own)
        shares = {name: round(sum(row[name] for row in own) / base, 3) for name in LIGHTS}
        asked = sum(row["asked"] for row in own)
        yield {"reader": reader, "asked": asked, "right": base, **shares}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readers", nargs="+", choices=tuple(VIEWERS), default=tuple(VIEWERS))
    parser.add_argument("--scenes", nargs="+", choices=tuple(SCENES), default=WITH_TEXT)
    parser.add_argument("--clips", type=int, default=1, help="of each scene")
    parser.add_argument("--processes", type=int, default=harness.THREADS)
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "reading_light.json")
    given = parser.parse_args(words)
    tasks = [Task(reader, scene, seed) for reader in given.readers for scene in given.scenes
             for seed in range(given.clips)]  # fmt: skip
    rows = list(harness.spread(of_clip, tasks, given.processes, "clips"))
    found = list(retained(rows))
    print("\n".join(table.markdown(found)))
    harness.write(given.out, found)
    print(given.out)


if __name__ == "__main__":
    main()
