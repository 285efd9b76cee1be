"""How well the reader reads dense frames, by group: ``python -m reading.vit.check [WEIGHTS]`` in
benchmarks/. Prints the table that its card shows.
"""

import sys
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch

from reading.clips import footage
from reading.looks import Look, distance
from reading.readers.vit import WEIGHTS, VitReader
from reading.scenes import SCENES
from reading.truth import SMALL, Clip, Split

CLIPS, FRAMES = 8, 12  # of each scene, of each clip


def main(weights: Path) -> None:
    """Every visible item in some frames of every test clip."""
    torch.set_num_threads(2)
    marks = tally(VitReader(weights), "test", CLIPS, FRAMES)
    print("| group | strings | right | characters right |\n|---|---|---|---|")
    for group, mark in [*sorted(marks.items()), ("all", sum(marks.values(), Marked()))]:
        print(
            f"| {group} | {mark.strings} | {mark.right / mark.strings:.2%} | "
            f"{1 - mark.wrong / mark.characters:.2%} |"
        )


@dataclass(frozen=True)
class Marked:
    """How much was asked, and how much of it was read."""

    strings: int = 0
    right: int = 0
    characters: int = 0
    wrong: int = 0  # characters to insert, delete or replace; a shape is one

    def __add__(self, other: "Marked") -> "Marked":
        return Marked(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @classmethod
    def of(cls, said: str, read: str, kind: str) -> "Marked":
        length = len(said) if kind == "text" else 1
        return cls(1, int(said == read), length, min(length, distance(said, read)))


def tally(reader: VitReader, split: Split, clips: int, frames: int) -> dict[str, Marked]:
    """The marks by group."""
    marks: dict[str, Marked] = {}
    for scene in SCENES:
        for seed in range(clips):
            shown = footage(scene, split, seed, SMALL)
            length = len(shown.planes)
            some = np.random.default_rng(seed).choice(length, frames, replace=False)
            looks, said, groups = visible(shown.truth, some.tolist())
            read = reader.read(shown, looks)
            for look, truth, found, group in zip(looks, said, read, groups, strict=True):
                mark = Marked.of(truth, found, look.kind)
                marks[group] = marks.get(group, Marked()) + mark
    return marks


def visible(clip: Clip, frames: list[int]) -> tuple[list[Look], list[str], list[str]]:
    """Looks at every visible item in these frames, what it says, and its group."""
    looks, said, groups = [], [], []
    for item in clip.items:
        for frame in frames:
            box = item.at(frame)
            if box is not None:
                looks.append(Look(frame, box, item.kind))
                said.append(item.text)
                groups.append(item.group)
    return looks, said, groups


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else WEIGHTS)
