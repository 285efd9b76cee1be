"""A camera over a large page of text: a hand-held pan, a zoom."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reading.truth import Box, Size

from .backdrop import backdrop
from .overlays import wander
from .record import Film, Scene, moving, seen
from .typeset import Word, face, lines, theme, vocabulary


def pan(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """A pan by a hand that trembles; in one clip of three by whole pixels."""
    height, width = size
    path = wander(rng, frames, fps, (0, 0, width / 2, height / 2), 0.08) + _tremble(rng, frames)
    if rng.random() < 1 / 3:
        path = path.round()
    path -= path.min(axis=0) - 2
    right, down = np.ceil(path.max(axis=0)).astype(int) + 2
    page, words = text_page(rng, size, (height + down, width + right))
    return film_of(page, words, "pan", path, np.ones(frames), size)


def zoom(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """A lens that goes in and out between 1 and 1.7, and looks about."""
    page, words = text_page(rng, size, size)
    scale = wander(rng, frames, fps, (1, 0, 1.7, 0), 0.15)[:, 0]
    place = wander(rng, frames, fps, (0, 0, 1, 1), 0.1)
    path = place * (1 - 1 / scale[:, None]) * size[::-1]
    return film_of(page, words, "zoom", path, scale, size)


def text_page(
    rng: np.random.Generator, size: Size, whole: Size, area: Box | None = None
) -> tuple[Image.Image, list[Word]]:
    """A page larger than the picture, full of text."""
    height, width = whole
    colours = theme(rng)
    page = backdrop(rng, whole, colours.paper)
    within = area or (8, 8, width - 8, height - 4)
    filled = lines(rng, vocabulary(rng, size, formulas=0.1), face(rng, size), colours, within)
    words = [word for line in filled for word in line]
    for word in words:
        word.draw(page)
    return page, words


def film_of(
    page: Image.Image,
    words: list[Word],
    group: str,
    path: NDArray[np.floating],  # [T, 2] x, y of the picture's corner on the page
    scale: NDArray[np.floating],  # [T] pixels of the picture for one of the page
    size: Size,
) -> Scene:
    """What the camera sees of the page, and the items in it."""
    film: Film = np.empty((len(path), *size, 3), np.uint8)
    for t, ((x, y), larger) in enumerate(zip(path.tolist(), scale.tolist(), strict=True)):
        film[t] = _view(page, x, y, larger, size)
    items = [
        moving(word, group, 0, (word.box - np.tile(path, 2)) * scale[:, None]) for word in words
    ]
    return film, seen(items, size)


def _view(page: Image.Image, x: float, y: float, larger: float, size: Size) -> Image.Image:
    height, width = size
    if larger == 1 and x.is_integer() and y.is_integer():
        return page.crop((int(x), int(y), int(x) + width, int(y) + height))
    affine = (1 / larger, 0, x, 0, 1 / larger, y)
    return page.transform((width, height), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)


def _tremble(rng: np.random.Generator, frames: int, pixels: float = 0.8) -> NDArray[np.floating]:
    """[T, 2] of a hand: each frame keeps most of the last one's offset."""
    keep = 0.85
    pushes = rng.normal(0, pixels * np.sqrt(1 - keep**2), (frames, 2))
    offset = np.zeros_like(pushes)
    for t in range(1, frames):
        offset[t] = keep * offset[t - 1] + pushes[t]
    return offset
