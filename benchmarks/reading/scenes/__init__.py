"""Dense scenes, drawn so that everything in them is known: one file a family.

typeset.py   words, faces and colours       backdrop.py  what lies behind them
overlays.py  what moves in front            record.py    the items that come of it
"""

from collections.abc import Callable

import numpy as np

from reading.truth import Size

from . import camera, cuts, fade, light, movers, prepend, scroll, slides, subtitles, windows
from .record import Scene

# (rng, size, frames, fps) -> frames [T, H, W, 3], items
SCENES: dict[str, Callable[[np.random.Generator, Size, int, int], Scene]] = {
    "slides": slides.slides,
    "lecture": slides.lecture,
    "noise": slides.noise,
    "subtitles-large": subtitles.large,
    "subtitles-small": subtitles.small,
    "fade": fade.fade,
    "pan": camera.pan,
    "zoom": camera.zoom,
    "scroll": scroll.scroll,
    "code": scroll.code,
    "windows": windows.windows,
    "prepend-fill": prepend.fill,
    "prepend-push": prepend.push,
    "sign": movers.sign,
    "players": movers.players,
    "dialogue": cuts.dialogue,
    "speaker": cuts.speaker,
    "exposure": light.exposure,
    "mains": light.mains,
    "lamp": light.lamp,
}
