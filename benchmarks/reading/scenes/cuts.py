"""Shots in turn, so that pictures come back: a dialogue of two cameras, a slide and its speaker."""

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np

from reading.truth import Box, Item, Size

from . import overlays
from .backdrop import backdrop
from .record import Film, Scene, hide, seen, still
from .slides import talk
from .typeset import Word, face, lines, spaced, theme, vocabulary

Shot = tuple[int, int, int]  # first frame, end, which camera


def dialogue(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """Two cameras that stand still, each before a wall of words with a small person in front.

    While the other camera is on, a word of the wall may be written anew.
    """
    height, width = size
    shots = list(_shots(rng, frames, fps, (0.5, 1.3)))
    films: list[Film] = []
    items: list[Item] = []
    for camera in range(2):
        left = rng.uniform(0.02, 0.8) * width
        person = (left, 0.72 * height, left + 0.16 * width, 0.98 * height)
        own = [(first, end) for first, end, of in shots if of == camera]
        film = np.zeros((frames, *size, 3), np.uint8)
        items += _wall(rng, film, own, person)
        overlays.head(rng, film, fps, person)
        films.append(film)
    return _in_turn(films, shots), seen(items, size)


def speaker(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """A slide that is being written, and its speaker, whose name stands below."""
    height, width = size
    shots = list(_shots(rng, frames, fps, (0.6, 1.6)))
    slide, items = talk(rng, size, frames, "speaker")
    room = np.empty_like(slide)
    overlays.head(rng, room, fps, (0, 0, width, height))
    caption = _caption(rng, room)
    away = np.zeros((frames, 4), np.float32)  # [T, 4] what the slide is hidden by
    for first, end, camera in shots:
        away[first:end] = (0, 0, camera * width, camera * height)
    items = hide(items, away)
    for first, end, camera in shots:
        if camera == 1:
            items += [still(word, "speaker", first, end) for word in caption]
    return _in_turn([slide, room], shots), seen(items, size)


def _shots(
    rng: np.random.Generator, frames: int, fps: int, seconds: tuple[float, float]
) -> Iterator[Shot]:
    """The two cameras in turn."""
    first, camera = 0, 0
    while first < frames:
        end = min(frames, first + round(rng.uniform(*seconds) * fps))
        yield first, end, camera
        first, camera = end, 1 - camera


def _in_turn(films: Sequence[Film], shots: Sequence[Shot]) -> Film:
    """What is broadcast."""
    film = films[0]
    for first, end, camera in shots:
        film[first:end] = films[camera][first:end]
    return film


def _wall(
    rng: np.random.Generator, film: Film, shots: Sequence[tuple[int, int]], hole: Box
) -> list[Item]:
    """Draws a wall of words into the frames of some shots; every second time a word is new."""
    size, colours = film.shape[1:3], theme(rng)
    height, width = size
    texts, style = vocabulary(rng, size), face(rng, size)
    area = (rng.uniform(6, 24), rng.uniform(6, 24), width - 6, height - 6)
    words = list(chain.from_iterable(lines(rng, texts, style, colours, area, holes=(hole,))))
    paper = backdrop(rng, size, colours.paper)
    items: list[Item] = []
    for first, end in shots:
        page = paper.copy()
        for word in words:
            word.draw(page)
        film[first:end] = page
        items += [still(word, "dialogue", first, end) for word in words]
        if rng.random() < 0.5:
            at = int(rng.integers(len(words)))
            words[at] = _rewritten(words[at], texts)
    return items


def _rewritten(word: Word, texts: Iterator[str]) -> Word:
    """Another word at its place, no wider."""
    old = word.setting
    for text in texts:
        new = spaced(text, old.font)
        if text != old.text and new.width <= old.width:
            return Word(new, word.left, word.top + old.rise - new.rise, word.colour)
    raise AssertionError("the vocabulary has no end")


def _caption(rng: np.random.Generator, film: Film) -> list[Word]:
    """Draws a band with a name into the foot of every frame."""
    height, width = size = film.shape[1:3]
    band, colours = round(0.18 * height), theme(rng)
    picture = backdrop(rng, (band, width), colours.paper)
    style, area = face(rng, size, ems=(18, 20, 22)), (12, 10, width - 12, band)
    words = lines(rng, vocabulary(rng, size), style, colours, area)[0]
    for word in words:
        word.draw(picture)
    film[:, height - band :] = picture
    return [Word(w.setting, w.left, w.top + height - band, w.colour) for w in words]
