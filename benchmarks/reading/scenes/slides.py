"""Lectures: words and formulas appear one by one; a pointer, a talking head, noise."""

import numpy as np
from numpy.typing import NDArray

from reading.truth import SIGNS, Box, Item, Size

from . import overlays
from .backdrop import backdrop
from .record import Film, Scene, hide, seen, still
from .typeset import Theme, Word, face, lines, theme, vocabulary


def slides(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """Words and formulas on two slides, and a pointer."""
    film, items = talk(rng, size, frames)
    items = hide(items, overlays.pointer(rng, film, fps))
    return film, seen(items, size)


def lecture(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """The same with the speaker's head in a corner."""
    height, width = size
    inset = (0.76 * width, 0.68 * height, width - 6, height - 6)
    film, items = talk(rng, size, frames, "lecture", (inset,))
    items = hide(items, overlays.head(rng, film, fps, inset))
    items = hide(items, overlays.pointer(rng, film, fps))
    return film, seen(items, size)


def noise(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """The same filmed by a camera: noise in every pixel of every frame."""
    film, items = talk(rng, size, frames, "noise")
    overlays.grain(rng, film, rng.uniform(2, 3))
    return film, seen(items, size)


def talk(
    rng: np.random.Generator,
    size: Size,
    frames: int,
    group: str | None = None,
    holes: tuple[Box, ...] = (),
) -> tuple[Film, list[Item]]:
    """Two slides after each other; groups "slide" and "formula" unless one is named."""
    film = np.empty((frames, *size, 3), np.uint8)
    items: list[Item] = []
    texts = vocabulary(rng, size, formulas=0.25)
    turn = round(frames * rng.uniform(0.4, 0.6))
    for first, end in ((0, turn), (turn, frames)):
        colours = theme(rng)
        height, width = size
        area = (rng.uniform(6, 24), rng.uniform(6, 24), width - 6, height - 6)
        filled = lines(rng, texts, face(rng, size), colours, area, holes=holes)
        shown = _slide(rng, film[first:end], filled, colours)
        items += [
            still(word, group or _group(word), first + since, end)
            for word, since in shown
            if first + since < end
        ]
    return film, items


def _group(word: Word) -> str:
    return "formula" if set(word.setting.text) & set(SIGNS) else "slide"


def _slide(
    rng: np.random.Generator, film: Film, filled: list[list[Word]], colours: Theme
) -> list[tuple[Word, int]]:
    """Writes words on a slide, line after line in random order; each with its first frame."""
    order = rng.permutation(len(filled))
    words = [word for line in order for word in filled[line]]
    since: NDArray[np.int64] = np.sort(rng.integers(0, max(1, len(film) * 4 // 5), len(words)))
    page = backdrop(rng, film.shape[1:3], colours.paper)
    shown = 0
    for word, first in zip(words, since.tolist(), strict=True):
        film[shown:first] = page
        word.draw(page)
        shown = first
    film[shown:] = page
    return list(zip(words, since.tolist(), strict=True))
