"""What moves in front of a page: sprites on their paths, a pointer, a talking head, noise."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from reading.truth import Box, Size

from .backdrop import texture
from .record import Film

FINE = 4  # sprites are drawn so many times larger, then reduced


def rest_and_go(rng: np.random.Generator, frames: int, fps: int, size: Size) -> NDArray[np.float32]:
    """[T, 2] x, y of a hand: moves to a place, rests there, moves on."""
    room = np.array(size[::-1])
    path = np.empty((frames, 2), np.float32)
    place, t = rng.uniform(0.1, 0.9, 2) * room, 0
    while t < frames:
        goal = rng.uniform(0.05, 0.95, 2) * room
        moves, rests = rng.integers(fps // 4, fps, 2)
        share = np.linspace(0, 1, moves + 1)[1:, None]
        moving = place + (goal - place) * share**2 * (3 - 2 * share)  # starts and ends gently
        part = np.concatenate([moving, np.tile(goal, (rests, 1))])
        path[t : t + len(part)] = part[: frames - t]
        place, t = goal, t + len(part)
    return path


def wander(
    rng: np.random.Generator, frames: int, fps: int, area: Box, hertz: float = 0.25
) -> NDArray[np.float32]:
    """[T, 2] x, y of a smooth curve that stays in an area and never rests."""
    low, high = np.array(area[:2]), np.array(area[2:])
    t = np.arange(frames)[:, None, None] / fps
    rate = hertz * rng.uniform([0.7, 1.6], [1.3, 2.6], (2, 2))  # [axes, waves]
    phase = rng.uniform(0, 2 * np.pi, (2, 2))
    waves = np.sin(2 * np.pi * rate * t + phase) @ np.array([0.7, 0.3])  # [T, 2]
    return ((low + high) / 2 + waves * (high - low) / 2).astype(np.float32)


def paste(picture: NDArray[np.uint8], sprite: NDArray[np.float32], left: float, top: float) -> None:
    """Lays a sprite ``[h, w, 4]`` (premultiplied RGB 0..255, opacity 0..1) on ``[H, W, 3]``.

    Fractions of a pixel are interpolated; what sticks out of the picture is cut off.
    """
    x, y = int(np.floor(left)), int(np.floor(top))
    right, down = left - x, top - y
    wide = np.pad(sprite, ((1, 1), (1, 1), (0, 0)))
    rows = wide[1:] * (1 - down) + wide[:-1] * down
    shifted = rows[:, 1:] * (1 - right) + rows[:, :-1] * right  # [h + 1, w + 1, 4]
    y0, x0 = max(-y, 0), max(-x, 0)
    under = picture[max(y, 0) : max(y + len(shifted), 0), max(x, 0) : max(x + shifted.shape[1], 0)]
    over = shifted[y0 : y0 + under.shape[0], x0 : x0 + under.shape[1]]
    under[:] = np.rint(under * (1 - over[..., 3:]) + over[..., :3])


def sprite(large: Image.Image) -> NDArray[np.float32]:
    """[h, w, 4] premultiplied, from an RGBA picture drawn ``FINE`` times as large."""
    rgba = np.asarray(large, np.float32).copy()
    rgba[..., 3] /= 255
    rgba[..., :3] *= rgba[..., 3:]
    h, w = rgba.shape[0] // FINE, rgba.shape[1] // FINE
    return rgba.reshape(h, FINE, w, FINE, 4).mean(axis=(1, 3))


def pointer(rng: np.random.Generator, film: Film, fps: int) -> NDArray[np.float32]:
    """Draws a mouse arrow or a laser dot into every frame; gives its boxes ``[T, 4]``."""
    large = Image.new("RGBA", (16 * FINE, 20 * FINE))
    draw = ImageDraw.Draw(large)
    if rng.random() < 0.5:
        outline = [(1, 1), (1, 15), (5, 12), (8, 18), (10, 17), (7, 11), (12, 10)]
        corners = [(x * FINE, y * FINE) for x, y in outline]
        draw.polygon(corners, (250, 250, 250, 255), (10, 10, 10, 255), FINE)
    else:
        draw.ellipse([2 * FINE, 2 * FINE, 13 * FINE, 13 * FINE], (230, 20, 40, 255))
    picture = sprite(large)
    path = rest_and_go(rng, len(film), fps, film.shape[1:3])
    for frame, (x, y) in zip(film, path, strict=True):
        paste(frame, picture, x, y)
    return np.concatenate([path, path + np.array([17, 21])], axis=1)


def head(rng: np.random.Generator, film: Film, fps: int, box: Box) -> NDArray[np.float32]:
    """Draws a talking head into a corner of every frame; gives its boxes ``[T, 4]``."""
    left, top, right, bottom = (round(side) for side in box)
    width, height = right - left, bottom - top
    wall = texture(rng, (height, width), 12, (8, 30))[..., None] + rng.uniform(60, 140, 3)
    skin = tuple((np.array([225, 180, 150]) * rng.uniform(0.55, 1)).astype(int))
    coat = tuple(rng.integers(20, 160, 3))
    sway = wander(rng, len(film), fps, (0.42, 0.40, 0.58, 0.50), 0.4)
    talk = np.abs(wander(rng, len(film), fps, (-1, -1, 1, 1), 1.5)[:, 0])
    blink = rng.random(len(film)) < 0.04
    base = Image.fromarray(np.clip(wall, 0, 255).astype(np.uint8)).resize((2 * width, 2 * height))
    for t, frame in enumerate(film):
        large = base.copy()
        _face(large, sway[t], talk[t], bool(blink[t]), skin, coat)
        small = np.asarray(large.reduce(2), np.int16)
        small = small + rng.integers(-3, 4, small.shape, np.int16)  # a webcam's own noise
        frame[top:bottom, left:right] = np.clip(small, 0, 255)
    return np.tile(np.array([left, top, right, bottom], np.float32), (len(film), 1))


def _face(
    picture: Image.Image,
    centre: NDArray[np.float32],
    mouth: float,
    blink: bool,
    skin: tuple[int, ...],
    coat: tuple[int, ...],
) -> None:
    """Shoulders, head, hair, eyes and a mouth that is open by 0..1."""
    width, height = picture.size
    x, y = centre * (width, height)
    draw, unit = ImageDraw.Draw(picture), min(width, height) / 10

    def blob(dx: float, dy: float, rx: float, ry: float, fill: tuple[int, ...]) -> None:
        middle = x + dx * unit, y + dy * unit
        draw.ellipse([middle[0] - rx * unit, middle[1] - ry * unit,
                      middle[0] + rx * unit, middle[1] + ry * unit], fill)  # fmt: skip

    blob(0, 6.5, 4.5, 4, coat)
    blob(0, -0.6, 2.6, 3.2, (40, 28, 22))
    blob(0, 0.2, 2.3, 2.9, skin)
    for side in (-0.9, 0.9):
        blob(side, -0.4, 0.4, 0.08 if blink else 0.3, (25, 20, 20))
    blob(0, 1.5, 0.9, 0.12 + 0.6 * mouth, (110, 30, 35))


def grain(rng: np.random.Generator, film: Film, sigma: float) -> None:
    """Adds a camera's noise. A store of noise is cut anew for every frame: drawing it would take
    longer than the rest of the scene."""
    height, width = film.shape[1:3]
    store = np.rint(rng.normal(0, sigma, (height + 97, width + 97, 3))).astype(np.int16)
    for frame, (y, x) in zip(film, rng.integers(0, 98, (len(film), 2)), strict=True):
        frame[:] = np.clip(frame + store[y : y + height, x : x + width], 0, 255)
