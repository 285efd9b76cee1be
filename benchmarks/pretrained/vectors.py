"""One vector a frame: python benchmarks/pretrained/vectors.py [--clips NAME ...] [--pairs 3]

``patchgate.embed`` with DINOv2-small's published weights at the default settings, from the file to
CLS, beside the same frames through the model, from the same decoder and the same resize. Writes
results/vectors.json and prints its table. The clips are those that ship and those of the folder
PATCHGATE_CLIPS.

Letters: T frames, D features, N cells of a frame, P patch side.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
import torch
from rich.progress import track
from table import show
from torch import Tensor
from transformers import Dinov2Model

import patchgate
from patchgate.gather import PixelSpec, gather
from pretrained import clips, weights
from pretrained.measure import in_turn
from pretrained.weights import MEAN, PATCH, STD

# Clips whose camera stands still, by the beginning of their names.
STILL = ("asl_", "intel_", "opencv_vtest", "screencast_")
BATCH = 8  # frames of the dense model at a time


def pixel_values(path: Path, spec: PixelSpec, end: float) -> Iterator[Tensor]:
    """Frames as the tower takes them, ``[T, 3, H, W]`` float32, some at a time."""
    with patchgate.open_video(path, end=end) as video:
        for batch in video:
            h, w = spec.cells(batch.height, batch.width)
            rows = gather(batch, torch.arange(len(batch) * h * w), spec)  # [T * N, 3 * P * P]
            patches = rows.view(-1, h, w, 3, PATCH, PATCH)
            yield patches.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


def dense(model: Dinov2Model, path: Path, spec: PixelSpec, end: float) -> Tensor:
    """The model's own vector of every frame, ``[T, D]``."""
    parts = [model(pixel_values=some).pooler_output
             for pixels in pixel_values(path, spec, end)
             for some in pixels.split(BATCH)]  # fmt: skip
    return torch.cat(parts)


@torch.inference_mode()
def clip(model: Dinov2Model, path: Path, given: argparse.Namespace) -> dict[str, Any]:
    """A row: how near the vectors are to the model's own, and what they cost beside them."""
    spec = PixelSpec(given.side, MEAN, STD, PATCH)
    tower = patchgate.gated(model, spec, **given.settings)
    own = lambda: dense(model, path, spec, given.end)  # noqa: E731
    asked = {"end": given.end, "tolerance": given.settings.get("tolerance")}
    ours = lambda: patchgate.embed(path, tower, **asked).features  # noqa: E731
    features, truth = ours(), own()
    cosines = torch.cosine_similarity(features, truth)  # [T]
    row = {
        "clip": path.name,
        "camera": "still" if path.name.startswith(STILL) else "moving",
        "frames": len(truth),
        "cosine, 1 %": round(float(cosines.quantile(0.01)), 4),
        "cosine, median": round(float(cosines.median()), 4),
        "cosine, least": round(float(cosines.min()), 4),
    }
    if given.pairs:
        times = in_turn(ours, own, given.pairs)
        row |= {
            "speed-up": round(1 / times.share, 2),
            "of each pair": [round(1 / share, 2) for share in times.spread[::-1]],
            "frames/s": round(len(truth) / median(times.method), 1),
        }
    return row


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--clips", nargs="+", default=[], metavar="NAME", help="or its beginning")
    words.add_argument("--side", type=int, default=224, help="pixels")
    words.add_argument("--end", type=float, default=16.0, help="seconds of each clip")
    words.add_argument("--pairs", type=int, default=3, help="timed runs; 0: none")
    words.add_argument("--tolerance", type=float, help="the default of embed")
    words.add_argument("--out", type=Path, default=harness.RESULTS / "vectors.json")
    given = words.parse_args()
    given.settings = {} if given.tolerance is None else {"tolerance": given.tolerance}
    torch.set_num_threads(harness.THREADS)
    model = weights.load().model
    rows = []
    for path in track(clips.paths(given.clips), "vectors"):
        rows.append(clip(model, path, given))
    show(rows)
    harness.write(given.out, rows)


if __name__ == "__main__":
    main()
