"""The claim of the field: at a fixed number of tokens, more frames a second should tell more.

Clips of 30 frames a second are sampled at 1 to 30, and every method is tuned on each clip to the
most tokens that the budget allows (whole frames at a rate, a threshold, a share), never by answers.
Ours is tuned in three ways: by its threshold on sub-blocks of two pixels (``ladder.BUDGET``, found
on validation clips); by the same as far as letters survive, and then by looking at every k-th frame
only (``FEWER``); and with its default one by merging what is kept. Between samples, what was known
last stands. The small transformer reads; questions are about any moment.

Letters: T frames of the clip, t sampled ones, N cells, D features.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch
from harness import spread
from peers import CHOOSERS, at_budget
from peers.uniform import sampled_frames
from reading import merged
from reading.clips import Footage, footage
from reading.known import Known
from reading.ladder import BUDGET, LEGIBLE
from reading.looks import Look
from reading.methods import Dense, Ours, Seen, Trace
from reading.questions import Question, ask
from reading.readers.vit import VitReader
from reading.rivals import Encoded, traced
from reading.score import bootstrap
from reading.trial import Task, fewer
from reading.truth import SMALL

from proof.options import Options

FPS = 30
RATES = (1, 2, 3, 5, 10, 15, 30)
BUDGETS = (1, 2, 4)  # whole frames' worth of tokens a second
FEWER = "patchgate, fewer frames"
OWN = (Ours.family, FEWER, merged.FAMILY)
METHODS = (*OWN, *CHOOSERS)
STEPS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 30)  # of FEWER: every so many frames
_STEPS = 12  # of the bisection of others


@dataclass(frozen=True)
class Answered:
    """One clip, sampled at a rate, thinned to a budget by a method."""

    scene: str
    method: str
    rate: int  # frames a second
    budget: int  # in frames a second
    asked: int
    right: int
    tokens: int  # that it took


def measure(options: Options) -> dict[str, list[dict[str, Any]]]:
    """Accuracy by method, rate and budget; and whether 30 beats 1."""
    budgets = BUDGETS[1:2] if options.few else BUDGETS
    found: list[Answered] = list(
        spread(partial(of_clip, budgets), options.tasks(), options.processes, "rates")
    )
    return {
        "accuracy": list(accuracy(found)),
        "rising": list(rising(found)),
        "by scene": list(by_scene(found)),
    }


def of_clip(budgets: Sequence[int], task: Task, methods: Sequence[str] = METHODS) -> list[Answered]:
    """Every method at every rate."""
    film = footage(task.scene, "test", task.seed, SMALL, task.seconds, FPS)
    questions = fewer(ask(film.truth, task.seed))
    looks = list(dict.fromkeys(look for q in questions for look in q.looks))
    with torch.no_grad():
        hidden = reader().hidden(film.rgb(slice(None)))  # [T, N, D]

    def answered(method: str, rate: int, budget: int, trace: Trace, sampled: list[int]) -> Answered:
        texts = read(film, whole(trace, sampled, len(hidden)), looks)
        right = marked(questions, dict(zip(looks, texts, strict=True)))
        return Answered(task.scene, method, rate, budget, len(questions), right, trace.tokens)

    found = []
    for rate in RATES:
        sampled = sampled_frames(len(hidden), FPS, rate, 0, 1)
        own = hidden[sampled]
        seen = Seen(film.planes[sampled], rate, film.matrix, lambda _, own=own: own)
        all_ = answered("dense", rate, 0, Dense().traces(seen)[0], sampled)
        found.append(all_)
        for budget in budgets:
            tokens = budget * hidden.shape[1] * len(hidden) // FPS
            for method in methods:
                if all_.tokens <= tokens:  # nothing has to go
                    found.append(replace(all_, method=method, budget=budget))
                elif (trace := thinned(method, seen, tokens)) is not None:
                    found.append(answered(method, rate, budget, trace, sampled))
    return found


@cache
def reader() -> VitReader:
    return VitReader()


def thinned(method: str, seen: Seen, tokens: int) -> Trace | None:
    """The most tokens that the budget allows; None: it allows none."""
    if method == FEWER:
        return fewer_frames(seen, tokens)
    if method == merged.FAMILY:
        return merged.merged(seen, tokens)
    if method != Ours.family:
        choice = at_budget(CHOOSERS[method], seen, tokens, _STEPS)
        return None if choice is None else traced(choice, seen, CHOOSERS[method].looks)
    return finest(BUDGET, seen, tokens)


def finest(ladder: Sequence[Ours], seen: Seen, tokens: int) -> Trace | None:
    """The first step that fits. Where things move, a coarser one may need more: no bisection."""
    traces = (step.traces(seen)[0] for step in ladder)
    return next((trace for trace in traces if trace.tokens <= tokens), None)


def fewer_frames(seen: Seen, tokens: int) -> Trace | None:
    """Every k-th frame, with the least k at which a threshold fits that loses no letters."""
    frames = len(seen.planes)
    for step in STEPS:
        sampled = list(range(0, frames, step))
        some = Seen(seen.planes[sampled], seen.fps, seen.matrix)
        if (trace := finest(LEGIBLE, some, tokens)) is not None:
            return whole(trace, sampled, frames)
    return None


def whole(trace: Trace, sampled: list[int], frames: int) -> Trace:
    """A trace of sampled frames as one of all of them: nothing is new between samples."""
    last = torch.bucketize(torch.arange(frames), torch.tensor(sampled), right=True) - 1  # [T]
    if isinstance(trace, Encoded):
        return Encoded(trace.kind[last], trace.motion[last], trace.features[last])
    kind = trace.kind.new_zeros((frames, *trace.kind.shape[1:]))
    motion = trace.motion.new_zeros((frames, *trace.motion.shape[1:]))
    kind[sampled], motion[sampled] = trace.kind, trace.motion
    return replace(trace, kind=kind, motion=motion)


@torch.no_grad()
def read(film: Footage, trace: Trace, looks: Sequence[Look]) -> list[str]:
    """By what the tower made of the frames, or what it makes of what the tokens say they are."""
    if isinstance(trace, Encoded):
        return reader().read_hidden(trace.features, looks)
    return reader().read(Known(film, trace, {look.frame for look in looks}), looks)


def marked(questions: Sequence[Question], said: dict[Look, str]) -> int:
    """How many are right."""
    return sum(q.answer_from([said[look] for look in q.looks]) == q.answer for q in questions)


# --- tables -----------------------------------------------------------------------------------


def accuracy(found: Sequence[Answered]) -> Iterator[dict[str, Any]]:
    """Share of the questions that is answered right, by rate."""
    for budget, method in dict.fromkeys((a.budget, a.method) for a in found):
        own = [a for a in found if (a.budget, a.method) == (budget, method)]
        by_rate = {rate: share([a for a in own if a.rate == rate]) for rate in RATES}
        yield {"budget": budget or "all", "method": method,
               **{f"{rate} fps": value for rate, value in by_rate.items()}}  # fmt: skip


def share(answers: Sequence[Answered]) -> float | str:
    """Right of asked, in three digits."""
    asked = sum(a.asked for a in answers)
    return round(sum(a.right for a in answers) / asked, 3) if asked else "-"


def rising(found: Sequence[Answered]) -> Iterator[dict[str, Any]]:
    """Accuracy at 30 frames a second less that at 1; 95 % of a bootstrap over clips."""
    for budget, method in dict.fromkeys((a.budget, a.method) for a in found):
        own = [a for a in found if (a.budget, a.method) == (budget, method)]
        first, last = ([a for a in own if a.rate == rate] for rate in (RATES[0], RATES[-1]))
        if len(first) != len(last):
            continue
        gains = [(b.right - a.right, a.asked) for a, b in zip(first, last, strict=True)]
        (low, high), (gain, asked) = bootstrap(gains), map(sum, zip(*gains, strict=True))
        yield {"budget": budget or "all", "method": method, "gain": round(gain / asked, 3),
               "95 %": f"{low:.3f}..{high:.3f}"}  # fmt: skip


def by_scene(found: Sequence[Answered]) -> Iterator[dict[str, Any]]:
    """Ours at every rate, scene by scene."""
    own = [a for a in found if a.method in OWN]
    for key in dict.fromkeys((a.budget, a.method, a.scene) for a in own):
        these = [a for a in own if (a.budget, a.method, a.scene) == key]
        yield {"budget": key[0], "method": key[1], "scene": key[2],
               **{f"{r} fps": share([a for a in these if a.rate == r]) for r in RATES}}  # fmt: skip
