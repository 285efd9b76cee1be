"""Runs several streams in step, so that their rows pass through the tower together.

A run yields a ``Step`` wherever it needs the tower's modules or attention, and is sent the answer.
``alone`` answers one run. ``together`` answers several: steps that ask for the same of the same
layer are computed at once, on the rows of all of them, packed one after the other. What belongs to
one stream (which row each token shows, what is remembered, what wakes) stays in its own run.

Letters: n rows of one step, r rows of keys that are remembered, A active tokens, L entries of an
index, H heads, d features of a head.
"""

from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from patchgate.encoders.run.attention import Groups
from patchgate.encoders.tower import Tower

Answer = TypeVar("Answer")

_ROWS = 2048  # the most packed rows of one computation: the MLP's buffers stay in the caches


class Step(Protocol):
    """Something that a run needs computed."""

    key: Hashable  # steps of one key may be computed together

    @property
    def rows(self) -> int:
        """How many rows it has."""

    def alone(self) -> Any:
        """Returns the answer."""

    def together(self, steps: Sequence[Any]) -> list[Any]:
        """Returns the answers of several steps of its kind, this one among them."""


Steps = Generator[Step, Any, Answer]


def key_of(tower: Tower, name: str, layer: int) -> Hashable:
    """Returns the key of a step: the same for all streams of one model at one size of picture."""
    return id(tower.model), tower.size, tower.prefix, tower.ends_after, name, layer


@dataclass
class Rowwise:
    """A computation that treats each row by itself.

    Args:
        key: see ``Step``.
        make: computes; its results have one row for each row (or so many) of the last input.
        inputs: tensors that are packed along their first dimension.
    """

    key: Hashable
    make: Callable[..., Any]
    inputs: tuple[Tensor, ...]

    @property
    def rows(self) -> int:
        return len(self.inputs[-1])

    def alone(self) -> Any:
        return self.make(*self.inputs)

    def together(self, steps: Sequence["Rowwise"]) -> list[Any]:
        packed = [torch.cat(each) for each in zip(*(s.inputs for s in steps), strict=True)]
        made = self.make(*packed)
        counts, total = [step.rows for step in steps], len(packed[-1])

        def parted(rows: Tensor) -> tuple[Tensor, ...]:
            return rows.split([n * len(rows) // total for n in counts])

        if isinstance(made, Tensor):
            return list(parted(made))
        return list(zip(*map(parted, made), strict=True))


@dataclass
class Attend:
    """Residual attention of active tokens, over keys and values that are remembered or new.

    Its answer is the outputs ``[A, H, d]``, the logarithms of the denominators ``[A, H]``, and the
    tables of keys and values ``[r + A, H, d]``.

    Args:
        key: see ``Step``.
        groups: who attends to what.
        query: ``[A, H, d]``.
        keys, values: the remembered ones ``[r, H, d]`` (or none) and the new ones ``[A, H, d]``.
        scale: the factor of the scores.
    """

    key: Hashable
    groups: Groups
    query: Tensor
    keys: list[Tensor]
    values: list[Tensor]
    scale: float

    @property
    def rows(self) -> int:
        return len(self.query)

    def alone(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        keys, values = (torch.cat(x) if len(x) > 1 else x[0] for x in (self.keys, self.values))
        return *self.groups.attend(self.query, keys, values, self.scale), keys, values

    def together(self, steps: Sequence["Attend"]) -> list[Any]:
        # The joint table is at the same time the table of each stream: they are views of it.
        keys = torch.cat([part for step in steps for part in step.keys])
        values = torch.cat([part for step in steps for part in step.values])
        lengths = [sum(map(len, step.keys)) for step in steps]
        counts = [step.rows for step in steps]
        groups = Groups.together([step.groups for step in steps], counts, lengths)
        query = torch.cat([step.query for step in steps])
        out, lse = groups.attend(query, keys, values, self.scale)
        parts = out.split(counts), lse.split(counts), keys.split(lengths), values.split(lengths)
        return list(zip(*parts, strict=True))


def alone(steps: Steps[Answer]) -> Answer:
    """Computes one run, step by step."""
    try:
        step = next(steps)
        while True:
            step = steps.send(step.alone())
    except StopIteration as end:
        answer: Answer = end.value
        return answer


def together(runs: Sequence[Steps[Answer]]) -> list[Answer]:
    """Computes several runs, the same steps of all of them at once.

    Each result is that of ``alone``, up to the rounding of larger products of matrices. If one run
    fails, all end, and its error is raised.
    """
    if len(runs) == 1:
        return [alone(runs[0])]
    results: dict[int, Answer] = {}
    waiting: dict[int, Step] = {}

    def go_on(number: int, answer: Any) -> None:
        try:
            waiting[number] = runs[number].send(answer)
        except StopIteration as end:
            results[number] = end.value

    try:
        for number in range(len(runs)):
            go_on(number, None)
        while waiting:
            for number, answer in _answers(waiting):
                del waiting[number]
                go_on(number, answer)
    finally:
        for run in runs:
            run.close()
    return [results[number] for number in range(len(runs))]


def _answers(waiting: dict[int, Step]) -> list[tuple[int, Any]]:
    """Computes the kind of step for which most runs wait."""
    kinds: dict[Hashable, list[int]] = {}
    for number in sorted(waiting):
        kinds.setdefault(waiting[number].key, []).append(number)
    numbers = max(kinds.values(), key=len)
    done: list[tuple[int, Any]] = []
    for part in _bounded(numbers, waiting):
        steps = [waiting[number] for number in part]
        # Without rows there is nothing to split again.
        if len(steps) == 1 or not any(step.rows for step in steps):
            answers = [step.alone() for step in steps]
        else:
            answers = steps[0].together(steps)
        done += zip(part, answers, strict=True)
    return done


def _bounded(numbers: list[int], waiting: dict[int, Step]) -> list[list[int]]:
    """Cuts a list of runs where their rows together would be too many."""
    parts: list[list[int]] = []
    rows = 0
    for number in numbers:
        own = waiting[number].rows
        if not parts or rows + own > _ROWS:
            parts.append([])
            rows = 0
        parts[-1].append(number)
        rows += own
    return parts
