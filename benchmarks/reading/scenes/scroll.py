"""Text that scrolls smoothly under a heading, code that jumps by lines."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reading.truth import Size

from .camera import film_of, text_page
from .record import Scene, inside, seen, still
from .typeset import Word, face, row, spaced, theme, tinted, vocabulary

SPEEDS = (1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)  # pixels a frame


def scroll(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """Text that moves up by 1 to 4 pixels a frame, rests now and then; a heading that stands."""
    height, width = size
    heading = 40
    speed, moving = np.zeros(frames), False
    t = 0
    while t < frames:
        moving = not moving
        lasts = rng.integers(fps, 3 * fps) if moving else rng.integers(fps // 5, fps)
        speed[t : t + lasts] = rng.choice(SPEEDS) if moving else 0
        t += lasts
    down = np.cumsum(speed) - speed[0]
    whole = height + int(down[-1]) + 4, width
    page, words = text_page(rng, size, whole, (10, heading + 8, width - 8, whole[0]))
    film, items = film_of(
        page, words, "scroll", np.stack([0 * down, down], axis=1), np.ones(frames), size
    )
    bar = Image.new("RGB", (width, heading), tinted(rng, 60, 1))
    title = spaced(next(vocabulary(rng, size)), face(rng, size, ems=(20, 22)))
    word = Word(title, 12, round((heading - title.height) / 2), (240, 240, 240))
    word.draw(bar)
    film[:, :heading] = bar
    items = inside(items, (0, heading, width, height))
    return film, seen([*items, still(word, "scroll", 0, frames)], size)


def code(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """Indented lines of a fixed-width face, coloured; the view jumps, a line at a time."""
    height, width = size
    style = face(rng, size, ems=(14, 16, 18, 20), mono=True)
    pitch = round(style.size * rng.uniform(1.35, 1.6))
    jumps = _jumps(rng, frames, fps)
    colours = theme(rng, dark=bool(rng.random() < 0.7))
    whole = height + int(jumps[-1] + 1) * pitch, width
    page = Image.new("RGB", whole[::-1], colours.paper)
    words: list[Word] = []
    indent, texts = 0, vocabulary(rng, size, formulas=0.35)
    for line in range(6, whole[0] - pitch, pitch):
        indent = int(np.clip(indent + rng.integers(-1, 2), 0, 3))
        if rng.random() < 0.12:
            continue  # an empty line
        left = 10 + indent * 2 * style.getlength("X")
        reach = left, min(width - 6, left + rng.uniform(0.35, 0.9) * width)
        words += row(rng, texts, style, colours, reach, line)
    for word in words:
        word.draw(page)
    path = np.stack([0.0 * jumps, jumps * pitch], axis=1)
    return film_of(page, words, "code", path, np.ones(frames), size)


def _jumps(rng: np.random.Generator, frames: int, fps: int) -> NDArray[np.int64]:
    """[T] lines scrolled: runs of jumps 2 to 6 frames apart, and rests to read."""
    steps = np.zeros(frames, int)
    t = rng.integers(fps // 2)
    while t < frames:
        for _ in range(rng.integers(2, 9)):
            steps[min(t, frames - 1)] = 1
            t += rng.integers(2, 7)
        t += rng.integers(fps // 3, fps)
    return np.cumsum(steps)
