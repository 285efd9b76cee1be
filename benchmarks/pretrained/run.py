"""Measures a pretrained tower: python benchmarks/pretrained/run.py [--sides 224 448] [--quick]

DINOv2-small, gated and not, on the clips that ship and those of the folder PATCHGATE_CLIPS, each
of 40 frames or more. Each clip and size is saved when it is done: the same command goes on after an
interruption, and others (--clips, --sides) add to it, as long as the settings and the commit are
the same; --fresh begins anew. Then results/pretrained.json, the page pretrained.md and its plots
are written of all that is there. --quick sees that it runs.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
import torch
from commit import commit

from pretrained import clips, measure, page, scenes, weights
from pretrained.kept import Kept, Rows
from pretrained.ladder import LARGE, STEPS, steps_of, steps_of_scenes
from pretrained.weights import PATCH, Pretrained

FEWER = 2  # of so many frames one, at large sizes
QUICK = harness.ROOT / "build" / "pretrained" / "quick"


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sides", type=int, nargs="+", default=[224, 448], help="pixels")
    parser.add_argument("--frames", type=int, default=48, help="of a clip; half of it from 448 px")
    parser.add_argument("--clips", nargs="+", default=[], metavar="NAME", help="or its beginning")
    parser.add_argument("--pairs", type=int, default=3, help="timed runs of each method")
    parser.add_argument("--quick", action="store_true", help="one clip and scene, 12 frames")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured so far")
    parser.add_argument("--redraw", action="store_true", help="only the page, of what is there")
    parser.add_argument("--out", type=Path, help="a folder; benchmarks/results")
    wanted = parser.parse_args(words)
    if wanted.quick:
        wanted.sides, wanted.frames, wanted.pairs = wanted.sides[:1], 12, 1
        wanted.clips = wanted.clips or ["asl_book", "torchcodec_nasa"]
    wanted.out = wanted.out or (QUICK if wanted.quick else harness.RESULTS)
    if wrong := [side for side in wanted.sides if side < 2 * PATCH or side % PATCH]:
        parser.error(f"--sides: expected multiples of {PATCH}, the tower's patch, got {wrong[0]}")
    if (least := min(frames_at(side, wanted.frames) for side in wanted.sides)) < 12:
        parser.error(f"--frames: expected 12 or more at every size, got {least}")
    if wanted.pairs < 1:
        parser.error(f"--pairs: expected 1 or more, got {wanted.pairs}")
    return wanted


def frames_at(side: int, frames: int) -> int:
    """How many frames of a clip are measured at a size."""
    return frames if side < LARGE or frames <= 12 else frames // FEWER


@torch.inference_mode()
def measured(wanted: argparse.Namespace, pretrained: Pretrained, chosen: list[Path]) -> Kept:
    """What was measured, now and before, with these settings."""
    plans = scenes.plans(chosen)
    if wanted.quick:
        chosen, plans = chosen[:1], dict(list(plans.items())[:1])
    settings = [wanted.frames, wanted.pairs, harness.cpu_model(), [step.name for step in STEPS]]
    kept = Kept(settings, commit(), fresh=wanted.fresh)
    for side in wanted.sides:
        frames = frames_at(side, wanted.frames)

        def of_clip(path: Path, side: int = side, frames: int = frames) -> Rows:
            film = clips.film(path, side, frames)
            return measure.clip(film, pretrained, steps_of(path.name, side), wanted.pairs)

        def of_scene(plan: scenes.Plan, side: int = side, frames: int = frames) -> Rows:
            made = scenes.made(plan, plans[plan], side, frames)
            return measure.scene(made, pretrained, steps_of_scenes(side))

        for path in chosen:
            try:
                kept.part(f"{path.name} {side}", partial(of_clip, path))
            except clips.TooShort as short:
                if wanted.clips:
                    raise
                print(f"left out: {short}")
        for plan in plans:
            kept.part(f"{plan.name} {side}", partial(of_scene, plan))
    return kept


def main() -> None:
    wanted = arguments()
    torch.set_num_threads(harness.THREADS)
    if not wanted.redraw:
        try:
            pretrained, chosen = weights.load(), clips.paths(wanted.clips)
        except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
            sys.exit(str(error))
        try:
            rows, facts = measured(wanted, pretrained, chosen).rows()
        except clips.TooShort as short:
            sys.exit(str(short))
        kinds = {kind: [row for row in rows if kind in row] for kind in ("clip", "scene")}
        harness.write(wanted.out / f"{page.NAME}.json", kinds, **facts)
    print(page.publish(wanted.out))


if __name__ == "__main__":
    main()
