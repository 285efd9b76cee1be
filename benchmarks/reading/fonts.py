"""The fonts that clips are set in: those that matplotlib and Pillow bring along."""

from functools import cache
from pathlib import Path

import matplotlib
from PIL import ImageFont

FONTS = {
    "sans": "DejaVuSans.ttf",
    "sans-bold": "DejaVuSans-Bold.ttf",
    "serif": "DejaVuSerif.ttf",
    "mono": "DejaVuSansMono.ttf",
    "times": "STIXGeneral.ttf",
    "times-italic": "STIXGeneralItalic.ttf",
    "modern": "cmr10.ttf",
    "typewriter": "cmtt10.ttf",
    "grotesque": None,  # Pillow's own
}


@cache
def font(name: str, pixels: int) -> ImageFont.FreeTypeFont:
    """A font by name, ``pixels`` its nominal size (em)."""
    file = FONTS[name]
    if file is None:
        return ImageFont.load_default(pixels)
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / file
    return ImageFont.truetype(str(path), pixels)  # a str: Pillow before 11 takes no Path
