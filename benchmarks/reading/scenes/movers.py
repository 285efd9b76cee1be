"""Objects that move on their own: a signing hand's shapes, players with numbers."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reading.fonts import font
from reading.ink import Colour
from reading.truth import SHAPES, Item, Size

from .backdrop import shaded, texture
from .overlays import FINE, paste, sprite, wander
from .record import Scene, hide, moving, seen
from .typeset import Word, spaced, tinted


def sign(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """One or two shapes on curved paths that turn into others now and then, like signing hands."""
    height, width = size
    dark = rng.random() < 0.5
    film = np.empty((frames, *size, 3), np.uint8)
    film[:] = shaded(tinted(rng, 60 if dark else 190, 0.6), texture(rng, size, 9, (3, 12, 40)))
    hands = 1 if width < 400 else 2
    items: list[Item] = []
    for hand in range(hands):
        side = int(rng.integers(36, 56))
        colour = tinted(rng, 205 if dark else 45, 1)
        room = hand / hands * width, 0, (hand + 1) / hands * width - side, height - side
        path = wander(rng, frames, fps, room, 0.3)
        for first, end, name in _turns(rng, frames, fps):
            picture = shape(name, side, colour)
            for t in range(first, end):
                paste(film[t], picture, *path[t])
            boxes = np.concatenate([path[first:end], path[first:end] + side], axis=1)
            whole = np.array([[0, 0, 1, 1]], np.float32)
            visible = np.ones(end - first, bool)
            items.append(Item(name, "shape", "sign", first, boxes, visible, whole))
    return film, seen(items, size)


def _turns(rng: np.random.Generator, frames: int, fps: int) -> Iterator[tuple[int, int, str]]:
    """First frame, end and name of one shape after another, never the same twice running."""
    first, name = 0, rng.integers(len(SHAPES))
    while first < frames:
        end = min(frames, first + int(rng.uniform(0.5, 1.6) * fps))
        yield first, end, SHAPES[name]
        first, name = end, (name + rng.integers(1, len(SHAPES))) % len(SHAPES)


def shape(name: str, side: int, colour: Colour) -> NDArray[np.float32]:
    """A sprite of a shape that fills its square."""
    large = Image.new("RGBA", (side * FINE, side * FINE))
    draw, full = ImageDraw.Draw(large), side * FINE - 1

    def bar(left: float, top: float, right: float, bottom: float) -> None:
        draw.rectangle([left * full, top * full, right * full, bottom * full], colour)

    match name:
        case "disc":
            draw.ellipse([0, 0, full, full], colour)
        case "ring":
            draw.ellipse([0, 0, full, full], outline=colour, width=full // 5)
        case "triangle":
            draw.polygon([(full / 2, 0), (full, full), (0, full)], colour)
        case "square":
            bar(0, 0, 1, 1)
        case "cross":
            bar(0.36, 0, 0.64, 1)
            bar(0, 0.36, 1, 0.64)
        case "fork":
            bar(0, 0.45, 1, 0.65)
            bar(0.4, 0.45, 0.6, 1)
            for tine in (0, 0.4, 0.8):
                bar(tine, 0, tine + 0.2, 0.5)
    return sprite(large)


def players(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """Two teams on a field: numbers on discs that run and cross."""
    height, width = size
    film = np.empty((frames, *size, 3), np.uint8)
    film[:] = _field(rng, size)
    teams = ((tinted(rng, 45, 1), (250, 250, 250)), (tinted(rng, 205, 1), (10, 10, 10)))
    style = font("sans-bold", int(rng.choice([16, 18, 20])))
    side = round(1.9 * style.size)
    count = 6 if width < 400 else 12
    items: list[Item] = []
    for player, text in enumerate(_numbers(rng, count)):
        team, ink = teams[player % 2]
        number = spaced(text, style)
        left, top = round((side - number.width) / 2), round((side - number.height) / 2)
        word = Word(number, left, top, ink)
        disc = _numbered(word, side, team)
        path = wander(rng, frames, fps, (2, 2, width - side - 2, height - side - 2), 0.12)
        for frame, (x, y) in zip(film, path, strict=True):
            paste(frame, disc, x, y)
        items = hide(items, np.concatenate([path, path + side], axis=1))
        items.append(moving(word, "player", 0, word.box + np.tile(path, 2)))
    return film, seen(items, size)


def _numbers(rng: np.random.Generator, count: int) -> list[str]:
    """Different numbers of the digits 2 to 9, one in three of them of one digit."""
    digits = "23456789"
    alone = [digits[i] for i in rng.permutation(8)[: count // 3]]
    pairs = rng.choice(64, count - len(alone), replace=False).tolist()
    return [*alone, *(digits[pair // 8] + digits[pair % 8] for pair in pairs)]


def _numbered(word: Word, side: int, colour: Colour) -> NDArray[np.float32]:
    """A sprite: a disc with a number on it."""
    large = Image.new("RGBA", (side * FINE, side * FINE))
    ImageDraw.Draw(large).ellipse([0, 0, side * FINE - 1, side * FINE - 1], colour)
    mask = Image.new("RGB", (side, side))
    Word(word.setting, word.left, word.top, (255, 255, 255)).draw(mask)
    share = np.asarray(mask, np.float32)[..., :1] / 255
    return sprite(large) * (1 - share) + np.array([*word.colour, 1], np.float32) * share


def _field(rng: np.random.Generator, size: Size) -> Image.Image:
    """Mown grass with white lines."""
    height, width = size
    stripes = 6 * np.sign(np.sin(np.arange(width, dtype=np.float32) / rng.uniform(12, 24)))
    field = shaded((70, 140, 60), texture(rng, size, 4, (2, 10)) + stripes)
    draw, line = ImageDraw.Draw(field), (205, 225, 205)
    draw.rectangle([8, 8, width - 9, height - 9], outline=line, width=2)
    draw.line([width / 2, 8, width / 2, height - 9], line, 2)
    reach = height / 6
    draw.ellipse([width / 2 - reach, height / 2 - reach, width / 2 + reach, height / 2 + reach],
                 outline=line, width=2)  # fmt: skip
    return field
