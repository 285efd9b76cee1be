"""Text that grows at its left end."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import ImageFont

from reading.ink import Colour, Setting, setting
from reading.truth import Item, Size

from .backdrop import backdrop
from .record import Scene, moving, seen
from .typeset import Word, face, row, theme, vocabulary


@dataclass(frozen=True)
class Stage:
    """A line over a while: its words, each with its place in the line and its letters shown."""

    first: int
    end: int
    words: list[tuple[tuple[int, int], Word]]


def fill(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """Letters fill an empty margin from the right: what stands there stays."""
    return _film(rng, size, frames, fps, push=False)


def push(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """Letters come in at the left and push everything to the right."""
    return _film(rng, size, frames, fps, push=True)


def _film(rng: np.random.Generator, size: Size, frames: int, fps: int, push: bool) -> Scene:
    height, width = size
    colours, style, texts = theme(rng), face(rng, size), vocabulary(rng, size)
    paper = backdrop(rng, size, colours.paper)
    film = np.empty((frames, *size, 3), np.uint8)
    film[:] = paper
    items: list[Item] = []
    pitch = 1.7 * style.size
    for line in np.arange(10, height - pitch, pitch).round().astype(int).tolist():
        whole = row(rng, texts, style, colours, (10, width - 10), line)
        strip = slice(line - 2, round(line + pitch) - 2)
        stages = list(_stages(rng, whole, style, frames, fps, 10 if push else None))
        for stage in stages:
            page = paper.copy()
            for _, word in stage.words:
                word.draw(page)
            film[stage.first : stage.end, strip] = np.asarray(page)[strip]
        items += _items(stages)
    return film, seen(items, size)


def _stages(
    rng: np.random.Generator,
    whole: list[Word],
    style: ImageFont.FreeTypeFont,
    frames: int,
    fps: int,
    margin: float | None,
) -> Iterator[Stage]:
    """A line from its last letters to the whole of it; ``margin``: where pushed text begins."""
    parts = [
        (place, shown)
        for place in reversed(range(len(whole)))
        for shown in _portions(rng, len(whole[place].setting.text))
    ]
    waits = rng.integers(fps // 5, 3 * fps // 4, len(parts))
    starts = [*np.cumsum(waits).tolist(), frames]
    for (place, shown), (first, end) in zip(parts, pairwise(starts), strict=True):
        if first >= frames:
            return
        head = _ending(whole[place], shown, style)
        shift = 0 if margin is None else round(margin - head.left)
        keyed = [((place, shown), head)]
        keyed += [((i, len(whole[i].setting.text)), whole[i]) for i in range(place + 1, len(whole))]
        words = [(key, Word(w.setting, w.left + shift, w.top, w.colour)) for key, w in keyed]
        yield Stage(first, min(end, frames), words)


def _portions(rng: np.random.Generator, length: int) -> Iterator[int]:
    """Letters shown, from two up: one or two more each time."""
    shown = 2
    while shown < length:
        yield shown
        shown += int(rng.integers(1, 3))
    yield length


def _ending(word: Word, shown: int, style: ImageFont.FreeTypeFont) -> Word:
    """The last letters of a word where they stand in it."""
    whole = word.setting
    part: Setting = setting(whole.text[-shown:], style, whole.spacing)
    left = word.left + whole.pens[-shown] - part.pens[0]
    colour: Colour = word.colour
    return Word(part, left, word.top + whole.rise - part.rise, colour)


def _items(stages: list[Stage]) -> list[Item]:
    """One item for every string of the line; it lasts over the stages that show it."""
    shown = defaultdict(list)
    for stage in stages:
        for key, word in stage.words:
            shown[key].append((stage, word))
    return [
        moving(
            spans[0][1], "prepend", spans[0][0].first,
            np.concatenate([np.tile(w.box, (s.end - s.first, 1)) for s, w in spans]),
        )
        for spans in shown.values()
    ]  # fmt: skip
