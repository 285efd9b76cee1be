"""One clip, thinned by every method, read by a reader, marked against the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from reading.looks import Look
from reading.methods import Dense, Method, Seen, Trace, Uniform
from reading.questions import Kind, Question
from reading.score import Cost, Row
from reading.truth import Size


class Task(NamedTuple):
    """A clip to render, by name."""

    scene: str
    seed: int
    seconds: float


class Said(NamedTuple):
    """What a reader said."""

    texts: list[str]  # one per look
    work: float | None = None  # share of the dense operations, if its own tower did less


class Viewer(Protocol):
    """A way of looking at what a method leaves: one of ``viewers.VIEWERS``."""

    name: str
    size: Size

    def suits(self, method: Method) -> bool:
        """Whether it can look at what this method leaves."""
        ...

    def read(self, footage: Any, method: Method, trace: Trace, looks: Sequence[Look]) -> Said:
        """What stands in each place, as far as the trace tells."""
        ...


# Of a clip, by kind: to count and to order takes dozens of looks a question.
MOST: dict[Kind, int] = {"what": 40, "count": 3, "order": 2, "where": 8}


def fewer(questions: Sequence[Question]) -> list[Question]:
    """The first of each kind; ``ask`` gives them in turn from a clip's groups."""
    return [
        q for kind, most in MOST.items() for q in [q for q in questions if q.kind == kind][:most]
    ]


@dataclass(frozen=True)
class Marks:
    """What a reader got right of one trace, or the mean of several."""

    right: NDArray[np.float64]  # [questions] share of the traces
    cost: Cost


def rows_of(
    viewer: Viewer,
    footage: Any,
    questions: Sequence[Question],
    methods: Sequence[Method],
) -> Iterator[Row]:
    """One row per method, group and kind of question; methods need not include ``Dense``."""
    encode = getattr(viewer, "encode", None)
    seen = Seen(footage.planes, footage.truth.fps, footage.matrix, encode)
    dense = marks(viewer, footage, seen, questions, Dense())
    for method in methods:
        if not applies(method, seen.fps) or not viewer.suits(method):
            continue
        same = method == Dense()
        marked = dense if same else marks(viewer, footage, seen, questions, method)
        yield from _rows(viewer.name, footage.truth, questions, method, marked, dense)


def applies(method: Method, fps: int) -> bool:
    """A clip has no more frames than it has."""
    return not isinstance(method, Uniform) or method.rate <= fps


def marks(
    viewer: Viewer, footage: Any, seen: Seen, questions: Sequence[Question], method: Method
) -> Marks:
    """What is answered right after a method, question by question."""
    traces = method.traces(seen)
    looks = list(dict.fromkeys(look for q in questions for look in q.looks))  # each once
    right, work = [], None
    for trace in traces:
        texts, work = viewer.read(footage, method, trace, looks)
        said = dict(zip(looks, texts, strict=True))
        right.append([q.answer_from([said[look] for look in q.looks]) == q.answer
                      for q in questions])  # fmt: skip
    return Marks(np.mean(np.array(right, float), 0), Cost.of(traces, seen.fps, work))


def _rows(
    reader: str,
    truth: Any,
    questions: Sequence[Question],
    method: Method,
    marked: Marks,
    dense: Marks,
) -> Iterator[Row]:
    groups: dict[tuple[str, str], list[int]] = {}
    for i, question in enumerate(questions):
        groups.setdefault((question.group, question.kind), []).append(i)
    for (group, kind), own in groups.items():
        yield Row(
            reader=reader,
            scene=truth.scene,
            clip=truth.name,
            family=method.family,
            setting=method.setting,
            group=group,
            kind=kind,
            asked=len(own),
            right=float(marked.right[own].sum()),
            dense=int(dense.right[own].sum()),
            retained=float((marked.right * dense.right)[own].sum()),
            cost=marked.cost,
        )
