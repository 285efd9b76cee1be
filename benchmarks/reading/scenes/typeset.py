"""Words: which, in what face and colour, and where on the page."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from reading.fonts import FONTS, font
from reading.ink import Colour, Setting, setting
from reading.truth import DIGITS, LETTERS, SMALL, Box, Size

LUMA = np.array([0.2126, 0.7152, 0.0722])
CENTRES = 8.5  # pixels between the centres of two glyphs: a reader may label cells of 8 pixels
EMS = (14, 16, 18, 20, 22, 24, 26, 28, 30)


@dataclass(frozen=True)
class Word:
    """A string at its place on a page."""

    setting: Setting
    left: float
    top: float
    colour: Colour

    @property
    def box(self) -> NDArray[np.float32]:
        """[4] left, top, right, bottom of its ink."""
        right, bottom = self.left + self.setting.width, self.top + self.setting.height
        return np.array([self.left, self.top, right, bottom], np.float32)

    def draw(self, page: Image.Image) -> None:
        """Draws it."""
        self.setting.draw(ImageDraw.Draw(page), self.left, self.top, self.colour)


@dataclass(frozen=True)
class Theme:
    """Colours that can be read on each other: luma at least 100 apart."""

    paper: Colour
    inks: tuple[Colour, ...]

    def ink(self, rng: np.random.Generator) -> Colour:
        """One of its inks; the first is the most common."""
        return self.inks[rng.choice(len(self.inks), p=[0.6, 0.2, 0.2])]


def theme(rng: np.random.Generator, *, dark: bool | None = None) -> Theme:
    """Light or dark paper and three inks."""
    if dark is None:
        dark = bool(rng.random() < 0.5)
    paper = tinted(rng, rng.uniform(22, 55) if dark else rng.uniform(205, 240), 0.15)
    lumas = rng.uniform(185, 235, 3) if dark else rng.uniform(15, 80, 3)
    tints = (0.1, 1, 1)
    inks = tuple(tinted(rng, luma, tint) for luma, tint in zip(lumas, tints, strict=True))
    return Theme(paper, inks)


def tinted(rng: np.random.Generator, luma: float, strength: float) -> Colour:
    """A colour of about this luma; strength 0 is grey."""
    raw = rng.uniform(0, 255, 3)
    mixed = luma + strength * (raw - raw @ LUMA)
    bright = np.clip(mixed, 0, 255)
    bright += luma - bright @ LUMA  # what clipping took away
    red, green, blue = np.clip(bright, 0, 255).astype(int).tolist()
    return red, green, blue


def face(
    rng: np.random.Generator, size: Size, *, ems: Iterable[int] = EMS, mono: bool = False
) -> ImageFont.FreeTypeFont:
    """A font at a size that suits the picture."""
    names = [name for name in FONTS if not mono or name in ("mono", "typewriter")]
    largest = 30 if size[0] > 300 else 26
    fitting = [em for em in ems if em <= largest]
    return font(names[rng.integers(len(names))], fitting[rng.integers(len(fitting))])


def spaced(text: str, face: ImageFont.FreeTypeFont) -> Setting:
    """Sets a string so that no two glyphs' centres are nearer than ``CENTRES``."""
    plain = setting(text, face)
    centre = plain.glyphs[:, ::2].mean(axis=1) * plain.width  # [characters]
    tightest = float(np.diff(centre).min(initial=CENTRES))
    return plain if tightest == CENTRES else setting(text, face, 1 + CENTRES - tightest)


def letters(rng: np.random.Generator, size: Size, count: int) -> str:
    """Random letters and digits; digits only where the picture is small."""
    known = DIGITS if size == SMALL else LETTERS
    return "".join(known[i] for i in rng.integers(len(known), size=count))


def vocabulary(
    rng: np.random.Generator, size: Size, *, formulas: float = 0.0, repeats: float = 0.2
) -> Iterator[str]:
    """Random words of 3 to 6 letters and formulas; some come again, so that they can be counted."""
    said: list[str] = []
    while True:
        if said and rng.random() < repeats:
            yield said[rng.integers(len(said))]
            continue
        new = (
            formula(rng, size)
            if rng.random() < formulas
            else letters(rng, size, rng.integers(3, 7))
        )
        said.append(new)
        yield new


def formula(rng: np.random.Generator, size: Size) -> str:
    """Such as AB+C=7."""
    one, two = (letters(rng, size, rng.integers(1, 3)) for _ in range(2))
    return f"{one}{'+-'[rng.integers(2)]}{two}={letters(rng, size, 1)}"


def row(
    rng: np.random.Generator,
    texts: Iterator[str],
    face: ImageFont.FreeTypeFont,
    colours: Theme,
    reach: tuple[float, float],
    line: float,
) -> list[Word]:
    """As many words as stand between two x, at least 1.5 mean glyph widths apart."""
    x, end = reach
    words: list[Word] = []
    while x + (text := spaced(next(texts), face)).width <= end:
        words.append(Word(text, round(x), round(line) - text.rise, colours.ink(rng)))
        x += text.width + face.size * rng.uniform(1.0, 1.7)
    return words


def lines(
    rng: np.random.Generator,
    texts: Iterator[str],
    face: ImageFont.FreeTypeFont,
    colours: Theme,
    area: Box,
    *,
    leading: float = 1.6,
    holes: Iterable[Box] = (),
) -> list[list[Word]]:
    """Lines of words that fill an area but for its holes, ragged at the right."""
    left, top, right, bottom = area
    made = []
    for line in np.arange(top, bottom - 1.3 * face.size, leading * face.size).tolist():
        words = row(
            rng, texts, face, colours, (left, right - rng.uniform(0, (right - left) / 4)), line
        )
        made.append([word for word in words if not any(meet(word.box, hole) for hole in holes)])
    return [words for words in made if words]


def meet(one: NDArray[np.float32], other: Box | NDArray[np.float32]) -> NDArray[np.bool_]:
    """Do boxes ``[.., 4]`` have pixels in common?"""
    a, b = np.asarray(one), np.asarray(other)
    apart = (a[..., 2:] <= b[..., :2]) | (b[..., 2:] <= a[..., :2])  # [.., 2]
    return ~apart.any(axis=-1)
