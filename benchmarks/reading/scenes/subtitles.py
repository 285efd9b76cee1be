"""Subtitles that change every 0.3 to 2 seconds over a background that moves."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from reading.truth import Item, Size

from .backdrop import shaded, texture
from .overlays import wander
from .record import Scene, seen, still
from .typeset import Theme, Word, face, spaced, tinted, vocabulary

MARGIN = 80  # pixels that the background has to move


def large(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """26 px, white on a dark picture."""
    ink = tinted(rng, rng.uniform(215, 245), 0.2)
    colours = Theme(tinted(rng, rng.uniform(30, 80), 0.6), (ink, ink, ink))
    return _film(rng, size, frames, fps, colours, 26, "subtitle-large")


def small(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """14 px, of little contrast."""
    luma = rng.uniform(70, 185)
    away = rng.uniform(42, 62) * (1 if luma < 128 else -1)
    ink = tinted(rng, luma + away, 0.1)
    colours = Theme(tinted(rng, luma, 0.2), (ink, ink, ink))
    return _film(rng, size, frames, fps, colours, 14, "subtitle-small")


def _film(
    rng: np.random.Generator,
    size: Size,
    frames: int,
    fps: int,
    colours: Theme,
    em: int,
    group: str,
) -> Scene:
    height, width = size
    scenery = _scenery(rng, size, colours)
    offset = wander(rng, frames, fps, (0, 0, MARGIN, MARGIN), 0.1).round().astype(int)
    film = np.empty((frames, *size, 3), np.uint8)
    items: list[Item] = []
    texts, style = vocabulary(rng, size, repeats=0.3), face(rng, size, ems=(em,))
    for first, end in _turns(rng, frames, fps):
        words = [] if rng.random() < 0.1 else _said(rng, texts, style, colours, size)
        items += [still(word, group, first, end) for word in words]
        for t in range(first, end):
            x, y = offset[t]
            picture = Image.fromarray(scenery[y : y + height, x : x + width])
            for word in words:
                word.draw(picture)
            film[t] = picture
    return film, seen(items, size)


def _scenery(rng: np.random.Generator, size: Size, colours: Theme) -> NDArray[np.uint8]:
    """A textured picture larger than the film's. Calm where text of little contrast is read."""
    whole = size[0] + MARGIN, size[1] + MARGIN
    contrast = abs(np.mean(colours.paper) - np.mean(colours.inks[0]))
    return np.array(shaded(colours.paper, texture(rng, whole, contrast / 12, (5, 20, 70))))


def _turns(rng: np.random.Generator, frames: int, fps: int) -> Iterator[tuple[int, int]]:
    """First and end of one subtitle after another."""
    lengths = rng.uniform(0.3, 2.0, 1 + int(frames / fps / 0.3)) * fps
    cuts = [0, *np.cumsum(lengths.round()).astype(int).tolist()]
    for first, end in pairwise(cuts):
        if first < frames:
            yield first, min(end, frames)


def _said(
    rng: np.random.Generator,
    texts: Iterator[str],
    style: ImageFont.FreeTypeFont,
    colours: Theme,
    size: Size,
) -> list[Word]:
    """One or two lines of one to three words, centred at the bottom."""
    height, width = size
    em = style.size
    words: list[Word] = []
    count = rng.integers(1, 3)
    for line in range(count):
        settings = [spaced(next(texts), style) for _ in range(rng.integers(1, 4))]
        gap = 1.2 * em
        while sum(s.width + gap for s in settings) - gap > width - 8:
            settings.pop()
        x = (width - sum(s.width + gap for s in settings) + gap) / 2
        top = height - 12 - 1.5 * em * (count - line)
        for one in settings:
            words.append(Word(one, round(x), round(top) - one.rise, colours.ink(rng)))
            x += one.width + gap
    return words
