"""Drawing text so that every glyph's place is known."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Setting:
    """A string set in a font: its ink measured, nothing drawn yet."""

    text: str
    font: ImageFont.FreeTypeFont
    spacing: float  # pixels between glyphs, beyond the font's own
    pens: tuple[float, ...]  # x of each glyph's origin from the ink's left edge
    rise: float  # y of the origin from the ink's top edge
    width: float  # of the ink, in pixels
    height: float
    glyphs: NDArray[np.float32]  # [characters, 4] ink of each, as fractions of width and height

    def draw(self, draw: ImageDraw.ImageDraw, left: float, top: float, colour: Colour) -> None:
        """Draws it with the ink's top left at ``(left, top)``, which may be fractions."""
        for character, pen in zip(self.text, self.pens, strict=True):
            draw.text((left + pen, top + self.rise), character, font=self.font, fill=colour)


def setting(text: str, font: ImageFont.FreeTypeFont, spacing: float = 1.0) -> Setting:
    """Sets a string glyph by glyph: a glyph's place must not depend on those that follow."""
    inks, pen = [], 0.0  # left, top, right, bottom relative to the first origin
    pens = []
    for character in text:
        left, top, right, bottom = font.getbbox(character)
        inks.append((left + pen, top, right + pen, bottom))
        pens.append(pen)
        pen += font.getlength(character) + spacing
    ink = np.array(inks, np.float32)
    low, high = ink[:, :2].min(0), ink[:, 2:].max(0)
    width, height = (high - low).tolist()
    fractions = (ink - np.tile(low, 2)) / np.tile(high - low, 2)
    origin = float(low[0])
    return Setting(
        text, font, spacing, tuple(p - origin for p in pens), -float(low[1]), width, height,
        fractions.astype(np.float32),
    )  # fmt: skip
