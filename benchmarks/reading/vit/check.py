"""How well the reader reads dense frames, by group: ``python -m reading.vit.check [WEIGHTS]`` in
benchmarks/. Prints the table that its card shows.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from reading.clips import footage
from reading.looks import Look
from reading.readers.vit import WEIGHTS, VitReader
from reading.scenes import SCENES
from reading.truth import SMALL, Clip, Split

CLIPS, FRAMES = 8, 12  # of each scene, of each clip


def main(weights: Path) -> None:
    """Every visible item in some frames of every test clip."""
    torch.set_num_threads(2)
    right, asked = tally(VitReader(weights), "test", CLIPS, FRAMES)
    print("| group | strings | right |\n|---|---|---|")
    for group in sorted(asked):
        print(f"| {group} | {asked[group]} | {right[group] / asked[group]:.2%} |")
    print(f"| all | {asked.total()} | {right.total() / asked.total():.2%} |")


def tally(
    reader: VitReader, split: Split, clips: int, frames: int
) -> tuple[Counter[str], Counter[str]]:
    """Strings read right, and asked about, by group."""
    right, asked = Counter[str](), Counter[str]()
    for scene in SCENES:
        for seed in range(clips):
            shown = footage(scene, split, seed, SMALL)
            length = len(shown.planes)
            some = np.random.default_rng(seed).choice(length, frames, replace=False)
            looks, said, groups = visible(shown.truth, some.tolist())
            read = reader.read(shown, looks)
            asked.update(groups)
            right.update(g for g, s, r in zip(groups, said, read, strict=True) if s == r)
    return right, asked


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
