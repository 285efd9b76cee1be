"""Questions about a clip, whose exact answers follow from its truth alone.

A question is a set of looks (frame, box) and a rule that turns what a reader says about each into
an answer; the answer to the readings of the truth is the right one. Four kinds:

what    what stood in this box at that time?
count   how many separate times did this stand in one of these places?
order   in which order did these appear?
where   this was elsewhere before: in which of four places is it now?

Letters: T frames.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reading.looks import (
    UNCLEAR,
    Look,
    middle,
    overlap,
    presence,
    probes,
    resting_place,
    said,
    settled,
)
from reading.truth import Clip, Item

Kind = Literal["what", "count", "order", "where"]
Answer = str | int | tuple[str, ...]

MOST: dict[Kind, int] = {"what": 40, "count": 8, "order": 6, "where": 8}  # of one clip
TIMES = 3  # one item is asked about: early, midway and late in its life, for drift shows late
STRINGS = (3, 5)  # at least, at most: to be put in order
PLACES = 4  # to choose from


@dataclass(frozen=True)
class Question:
    """Looks, what each of them hopes to see, and the right answer."""

    kind: Kind
    group: str
    looks: tuple[Look, ...]
    sought: tuple[str, ...]  # per look: a reading is a hit if it is exactly this
    answer: Answer

    def answer_from(self, readings: Sequence[str]) -> Answer | None:
        """What readings (one per look) amount to; None if they do not tell."""
        if self.kind == "what":
            return readings[0]
        hits = [r == s for r, s in zip(readings, self.sought, strict=True)]
        if self.kind == "count":
            return _appearances(self.looks, hits)
        if self.kind == "where":
            return hits.index(True) if hits.count(True) == 1 else None
        first: dict[str, int] = {}
        for look, text, hit in zip(self.looks, self.sought, hits, strict=True):
            if hit:
                first[text] = min(look.frame, first.get(text, look.frame))
        tied = len(set(first.values())) < len(first)  # one frame does not tell an order
        return None if tied else tuple(sorted(first, key=first.__getitem__))


def ask(clip: Clip, seed: int) -> list[Question]:
    """The questions of a clip, balanced over its groups; the same for the same seed."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, *clip.name.encode()]))
    times = probes(clip, rng)
    found: dict[Kind, list[Question]] = {
        "what": list(_what(clip, rng)),
        "count": list(_count(clip, times)),
        "order": list(_order(clip, times, rng)),
        "where": list(_where(clip, rng)),
    }
    return [q for kind, most in MOST.items() for q in _balanced(found[kind], most, rng)]


def _what(clip: Clip, rng: np.random.Generator) -> Iterator[Question]:
    for item in clip.items:
        for part in np.array_split(settled(item, clip.fps), TIMES):
            if len(part):
                look = _look(item, int(rng.choice(part)))
                yield Question("what", item.group, (look,), (item.text,), item.text)


def _count(clip: Clip, times: list[int]) -> Iterator[Question]:
    """About strings that rest while they are there, at all places where they do."""
    places: dict[tuple[str, str], list[Look]] = {}  # by group and text
    for item in clip.items:
        box, known = resting_place(item), places.setdefault((item.group, item.text), [])
        if box is not None and not any(overlap(look.box, box) for look in known):
            known.append(Look(0, box, item.kind))
    for (group, text), known in places.items():
        seen = [_watched(clip, text, place, times) for place in known]
        looks = tuple(look for own in seen for look in own)
        there = [said(clip, look) == text for look in looks]
        if answer := _appearances(looks, there):
            yield Question("count", group, looks, (text,) * len(looks), answer)


def _watched(clip: Clip, text: str, place: Look, times: list[int]) -> list[Look]:
    """Looks at a place that see every appearance of a text there and every gap, if there are."""
    state = presence(clip, text, place.box)  # [T]
    clear = np.flatnonzero(state != UNCLEAR).tolist()  # covered for a moment is not gone
    runs = [list(run) for _, run in groupby(clear, key=state.__getitem__)]
    middles = {middle(run, clip.fps) for run in runs}
    frames = set() if None in middles else middles | set(clear).intersection(times)
    return [Look(t, place.box, place.kind) for t in sorted(frames)]


def _order(clip: Clip, times: list[int], rng: np.random.Generator) -> Iterator[Question]:
    """About strings of one group that first appear farther apart than the looks are."""
    step = int(max(np.diff(times), default=0))
    groups: dict[str, list[Item]] = {}
    firsts: dict[str, Item] = {}
    for item in sorted((item for item in clip.items if item.visible.any()), key=_start):
        if firsts.setdefault(item.text, item) is item and _start(item) > step:
            groups.setdefault(item.group, []).append(item)
    for items in groups.values():
        asked: set[tuple[str, ...]] = set()
        for _ in range(MOST["order"]):
            chosen: list[Item] = []
            for i in rng.permutation(len(items)):
                if all(abs(_start(items[i]) - _start(other)) > step for other in chosen):
                    chosen.append(items[i])
            chosen = sorted(chosen[: rng.integers(STRINGS[0], STRINGS[1] + 1)], key=_start)
            answer = tuple(item.text for item in chosen)
            if len(chosen) >= STRINGS[0] and answer not in asked:
                asked.add(answer)
                yield from _order_of(clip, chosen, times, step)


def _order_of(clip: Clip, chosen: list[Item], times: list[int], step: int) -> Iterator[Question]:
    """The question about items sorted by their first frames, if the looks tell the order."""
    low, high = _start(chosen[0]) - 2 * step, _start(chosen[-1]) + 2 * step
    looks, sought = [], []
    for t in times:
        for item in chosen:
            frame = max(t, item.first)  # its place before it was there is where it will be
            if low <= t <= high and (frame > t or item.at(t) is not None):
                place = _look(item, frame if item.at(frame) else _start(item))
                looks.append(Look(t, place.box, place.kind))
                sought.append(item.text)
    answer = tuple(item.text for item in chosen)
    question = Question("order", chosen[0].group, tuple(looks), tuple(sought), answer)
    if question.answer_from([said(clip, look) for look in looks]) == answer:
        yield question


def _where(clip: Clip, rng: np.random.Generator) -> Iterator[Question]:
    """About what is clear of the place where it was: one of the wrong places is the old one."""
    for item in clip.items:
        frames = settled(item, clip.fps)
        for _ in range(TIMES if len(frames) > 1 else 0):
            before, now = np.sort(rng.choice(frames, 2, replace=False)).tolist()
            wrong = _wrong_places(clip, item, before, now, rng)
            if len(wrong) == PLACES - 1:
                right = _look(item, now)
                shuffled = rng.permutation(PLACES)
                places = [right, *(Look(now, tuple(w.tolist()), item.kind) for w in wrong)]
                looks = tuple(places[i] for i in shuffled)
                answer = int(shuffled.argmin())
                yield Question("where", item.group, looks, (item.text,) * PLACES, answer)
                break


def _wrong_places(
    clip: Clip, item: Item, before: int, now: int, rng: np.random.Generator
) -> list[NDArray]:
    """Where it does not stand now: the old place first, others on its way and beside it."""
    height, width = clip.size
    box, old = np.array(_look(item, now).box), np.array(_look(item, before).box)
    x, y = (box - old).reshape(2, 2).mean(0)  # moved by so much
    along = [(f * x, f * y) for f in (-1, 0.5, -0.5, 1.5, 2)]
    across = [(x, 0), (0, y), (x, -y), (-x, y), (y, x), (-y, -x)]
    taken = [box]
    for way in [(0.0, 0.0), *rng.permutation(along + across)]:
        # As large as it is now, around where the old one's middle would be.
        place = box - np.tile([x, y], 2) + np.tile(way, 2)
        inside = (place >= 0).all() and place[2] <= width and place[3] <= height
        free = inside and not any(overlap(place, other) for other in taken)
        if free and not presence(clip, item.text, tuple(place))[now]:
            taken.append(place)
        elif len(taken) == 1:
            return []  # the old place is no wrong answer, and without it there is no question
        if len(taken) == PLACES:
            break
    return taken[1:]


def _balanced(questions: list[Question], most: int, rng: np.random.Generator) -> list[Question]:
    """At most so many, drawn in turn from the groups; once and many times are counted in turn."""
    groups: dict[tuple[str, bool], list[Question]] = {}
    for q in (questions[i] for i in rng.permutation(len(questions))):
        groups.setdefault((q.group, q.kind == "count" and q.answer != 1), []).append(q)
    return [q for turn in zip_longest(*groups.values()) for q in turn if q is not None][:most]


def _look(item: Item, frame: int) -> Look:
    """At an item in a frame in which it is visible."""
    box = item.at(frame)
    assert box is not None, (item.text, frame)
    return Look(frame, box, item.kind)


def _start(item: Item) -> int:
    """The first frame in which it is visible."""
    return item.first + int(item.visible.argmax())


def _appearances(looks: Sequence[Look], hits: Sequence[bool]) -> int:
    """How often a run of hits begins, over all places; each place's looks are in order."""
    total = 0
    for box in {look.box for look in looks}:
        own = [hit for look, hit in zip(looks, hits, strict=True) if look.box == box]
        total += sum(hit for hit, _ in groupby(own))
    return total
