"""Windows that open, close and return."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reading.truth import Item, Size

from .backdrop import backdrop
from .record import Scene, hide, seen, still
from .typeset import Word, face, lines, theme, vocabulary


@dataclass(frozen=True)
class Window:
    """A window at its place on the screen."""

    picture: Image.Image
    box: tuple[int, int, int, int]
    words: list[Word]  # in pixels of the screen

    def cover(self, frames: int, first: int, end: int) -> NDArray[np.float32]:
        """[T, 4] its box while it is open, empty boxes while it is not."""
        boxes = np.zeros((frames, 4), np.float32)
        boxes[first:end] = self.box
        return boxes


def windows(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """Two or three windows over a page; the one opened last lies in front."""
    height, width = size
    colours = theme(rng)
    page = backdrop(rng, size, colours.paper)
    filled = lines(rng, vocabulary(rng, size), face(rng, size), colours, (8, 8, width, height))
    words = list(chain.from_iterable(filled))
    for word in words:
        word.draw(page)
    openings = [
        (first, end, window)
        for window in [_window(rng, size) for _ in range(rng.integers(2, 4))]
        for first, end in _open(rng, frames, fps)
    ]
    layers: list[list[Item]] = [[still(word, "window", 0, frames) for word in words]]
    film = np.empty((frames, *size, 3), np.uint8)
    film[:] = page
    for first, end, window in sorted(openings, key=lambda opening: opening[0]):
        cover = window.cover(frames, first, end)
        layers = [hide(items, cover) for items in layers]
        layers.append([still(word, "window", first, end) for word in window.words])
        left, top, right, bottom = window.box
        film[first:end, top:bottom, left:right] = window.picture
    return film, seen(list(chain.from_iterable(layers)), size)


def _window(rng: np.random.Generator, size: Size) -> Window:
    """A frame, a title bar with buttons and a few lines of text."""
    height, width = size
    wide, high = (rng.uniform(0.4, 0.65, 2) * (width, height)).astype(int).tolist()
    left, top = rng.integers(4, (width - wide - 4, height - high - 4)).tolist()
    colours, bar = theme(rng), 18
    picture = backdrop(rng, (high, wide), colours.paper)
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, 0, wide - 1, high - 1], outline=(90, 90, 96), width=2)
    draw.rectangle([0, 0, wide, bar], (90, 90, 96))
    for button, fill in enumerate([(220, 80, 70), (230, 180, 60), (90, 180, 80)]):
        draw.ellipse([8 + 14 * button, 5, 16 + 14 * button, 13], fill)
    style = face(rng, size, ems=(14, 16, 18, 20, 22))
    within = (10, bar + 7, wide - 6, high)
    inner = lines(rng, vocabulary(rng, size), style, colours, within, leading=1.4)
    words = list(chain.from_iterable(inner))
    for word in words:
        word.draw(picture)
    placed = [Word(w.setting, left + w.left, top + w.top, w.colour) for w in words]
    return Window(picture, (left, top, left + wide, top + high), placed)


def _open(rng: np.random.Generator, frames: int, fps: int) -> list[tuple[int, int]]:
    """When a window is open: it closes after a while, and returns."""
    spans, t = [], int(rng.integers(fps // 4, 3 * fps // 2))
    while t < frames:
        lasts, away = rng.integers((fps // 2, fps // 3), (2 * fps, 2 * fps)).tolist()
        spans.append((t, min(t + lasts, frames)))
        t += lasts + away
    return spans
