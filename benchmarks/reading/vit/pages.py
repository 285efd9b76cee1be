"""Pages full of words and shapes, drawn at random: most of what the reader learns from."""

import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reading.fonts import FONTS, font
from reading.ink import Colour
from reading.scenes import movers
from reading.scenes.backdrop import gradient, shaded, texture
from reading.scenes.overlays import paste
from reading.scenes.typeset import Word, meet, spaced, tinted
from reading.truth import LONGEST, NUMERALS, SHAPES, Item
from reading.vit.labels import Marks

SIDE = 288  # a page is larger than a picture: shown at another place each time, it serves often
EMS = (14, 26)  # as in clips
LOW, HIGH = (50, 100), (100, 210)  # contrast: of luma between ink and paper
QUALITY = (30, 95)  # of JPEG, for what a video codec does to a picture


def page(rng: np.random.Generator) -> tuple[NDArray[np.uint8], Marks]:
    """A picture ``[SIDE, SIDE, 3]`` and what stands in it."""
    contrast = rng.uniform(*(LOW if rng.random() < 0.15 else HIGH))
    lumas = rng.uniform(0, 255 - contrast) + np.array([0, contrast])
    paper, ink = rng.permutation(lumas)
    sheet = _backdrop(rng, tinted(rng, paper, rng.uniform(0, 0.5)), contrast / 14)
    shapes = list(_shapes(rng, sheet, ink)) if rng.random() < 0.3 else []
    taken = np.array([item.boxes[0] for item in shapes]).reshape(-1, 4)
    words = [word for word in _words(rng, ink) if not meet(taken, word.box).any()]
    _clutter(rng, sheet, np.concatenate([taken, [word.box for word in words]]))
    for word in words:
        word.draw(sheet)
    seen = _occlude(rng, sheet, np.array([word.box for word in words]))
    items = [
        Item(w.setting.text, "text", "page", 0, w.box[None], np.array([s]), w.setting.glyphs)
        for w, s in zip(words, seen, strict=True)
    ]
    return _coded(rng, sheet), Marks.of([*shapes, *items], 0)


def _backdrop(rng: np.random.Generator, colour: Colour, depth: float) -> Image.Image:
    kind, size = rng.random(), (SIDE, SIDE)
    if kind < 0.5:
        return Image.new("RGB", size, colour)
    shade = gradient(rng, size, 2 * depth) if kind < 0.75 else texture(rng, size, depth, (4, 24))
    return shaded(colour, shade)


def _words(rng: np.random.Generator, luma: float) -> Iterator[Word]:
    """Lines of words from top to bottom; now and then another face, size or colour."""
    y = rng.uniform(-10, 10)
    steady, tint = rng.random() < 0.6, rng.choice([0.0, 0.1, 0.7])
    name, em = _face(rng)
    while y < SIDE:
        if not steady:
            name, em = _face(rng)
        colour = tinted(rng, luma, tint)
        fractions = rng.random() < 0.3  # clips set text at whole pixels, and move it by fractions
        x = rng.uniform(-20, 30) if rng.random() < 0.7 else rng.uniform(0, SIDE)
        while x < SIDE:
            length = rng.integers(1, LONGEST + 1) if rng.random() < 0.5 else rng.integers(3, 7)
            text = "".join(NUMERALS[i] for i in rng.integers(len(NUMERALS), size=length))
            word = spaced(text, font(name, em))
            left, top = (x, y) if fractions else (round(x), round(y))
            yield Word(word, left, top - word.rise, colour)
            x += word.width + em * rng.uniform(0.8, 1.7)
            x += rng.uniform(10, 90) if rng.random() < 0.1 else 0
        y += em * rng.uniform(1.2, 1.6)


def _face(rng: np.random.Generator) -> tuple[str, int]:
    """Small sizes more often: they are harder, and more of them fit on a page."""
    low, high = np.log(EMS)
    return list(FONTS)[rng.integers(len(FONTS))], round(np.exp(rng.uniform(low, high)))


def _shapes(rng: np.random.Generator, sheet: Image.Image, luma: float) -> Iterator[Item]:
    """Draws one or two shapes that do not touch."""
    film, taken = np.array(sheet), np.empty((0, 4), np.float32)
    for _ in range(rng.integers(1, 3)):
        side = int(rng.integers(34, 58))
        corner = rng.uniform(0, SIDE - side, 2)
        box = np.concatenate([corner, corner + side]).astype(np.float32)
        if not meet(taken, box).any():
            name = str(rng.choice(SHAPES))
            paste(film, movers.shape(name, side, tinted(rng, luma, 1)), *corner)
            taken = np.append(taken, box[None], 0)
            whole = np.array([[0, 0, 1, 1]], np.float32)
            yield Item(name, "shape", "page", 0, box[None], np.ones(1, bool), whole)
    sheet.paste(Image.fromarray(film))


def _clutter(rng: np.random.Generator, sheet: Image.Image, taken: NDArray[np.float32]) -> None:
    """Blobs and lines where nothing stands."""
    draw = ImageDraw.Draw(sheet)
    for _ in range(rng.integers(12)):
        box = _box(rng, 2, 30)
        if not meet(taken, box).any():
            shape = [draw.ellipse, draw.rectangle, draw.line][rng.integers(3)]
            shape(box.tolist(), fill=_any_colour(rng))


def _occlude(
    rng: np.random.Generator, sheet: Image.Image, words: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Puts things in front of words ``[n, 4]``; which words are still whole, [n]."""
    draw, seen = ImageDraw.Draw(sheet), np.ones(len(words), bool)
    for _ in range(rng.integers(4)):
        box = _box(rng, 8, 33)  # smaller than any shape
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape(box.tolist(), fill=_any_colour(rng))
        seen &= ~meet(words, box)
    return seen


def _box(rng: np.random.Generator, low: float, high: float) -> NDArray[np.float32]:
    middle, size = rng.uniform(0, SIDE, 2), rng.uniform(low, high, 2)
    return np.concatenate([middle - size / 2, middle + size / 2]).astype(np.float32)


def _any_colour(rng: np.random.Generator) -> Colour:
    red, green, blue = rng.integers(256, size=3).tolist()
    return red, green, blue


def _coded(rng: np.random.Generator, sheet: Image.Image) -> NDArray[np.uint8]:
    """One in two loses what a JPEG loses."""
    if rng.random() < 0.5:
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=int(rng.integers(*QUALITY)))
        sheet = Image.open(buffer)
    return np.array(sheet)
