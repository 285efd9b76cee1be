"""Every peer as a method of the dense-reading benchmark, and how those after a tower are read.

A peer that chooses by pixels or by the clock is looked at as our gate is: what its tokens say the
video looks like, every dropped cell as it was kept last there. That is generous: a tower sees the
whole picture, where most of them would give it the kept cells alone. A peer that chooses by
features is given those of the dense tower, all of them for free.

Letters: T frames, N cells, D features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from peers import CHOOSERS, ENCODERS, Choice, layers
from torch import Tensor

from reading.looks import Look
from reading.methods import Dense, Method, Seen, Trace
from reading.trial import Said
from reading.truth import SMALL, Size
from reading.vit.model import pixel_values


@dataclass(frozen=True)
class Encoded(Trace):
    """A trace that brings what the tower says of every cell."""

    features: Tensor  # [T, N, D]
    flops: float | None = None  # of the tower, if less than the dense one's


@dataclass(frozen=True)
class Rival:
    """A peer that chooses, at a value of its knob."""

    family: str  # in CHOOSERS
    value: float

    @property
    def setting(self) -> str:
        return f"{CHOOSERS[self.family].knob}={self.value:g}"

    @property
    def looks(self) -> str:
        """At the clock, pixels or features."""
        return CHOOSERS[self.family].looks

    def traces(self, seen: Seen) -> list[Trace]:
        return [traced(_on(self.family, seen)(self.value), seen, self.looks)]


@lru_cache(1)  # settings of a family follow each other, and what is measured may be large
def _on(family: str, seen: Seen) -> Callable[[float], Choice]:
    return CHOOSERS[family].on(seen)


def traced(choice: Choice, seen: Seen, looks: str) -> Trace:
    """A choice as a trace; one by features says what every cell shows."""
    trace = Trace.of(choice.keep)
    if looks != "features":
        return trace
    return Encoded(trace.kind, trace.motion, choice.shown(seen.features))


@dataclass(frozen=True)
class Inside:
    """A peer that works inside the tower, at a share of its tokens."""

    family: str  # in ENCODERS
    value: float
    model: Any  # a SiglipVisionModel

    @property
    def setting(self) -> str:
        return f"share={self.value:g}"

    @torch.no_grad()
    def traces(self, seen: Seen) -> list[Trace]:
        found = ENCODERS[self.family].encode(self.model, pixel_values(seen.rgb), self.value)
        trace = Trace.of(found.choice.keep.view(seen.shape))
        return [Encoded(trace.kind, trace.motion, found.features, found.flops)]


@dataclass
class OnFeatures:
    """A reader of a tower's last hidden states: what is left of them."""

    name: str
    reader: Any  # a VitReader
    size: Size = SMALL

    def suits(self, method: Method) -> bool:
        after = isinstance(method, Rival) and method.looks == "features"
        return after or isinstance(method, (Dense, Inside))

    def encode(self, rgb: Tensor) -> Tensor:
        """The dense tower: ``[T, 3, H, W]`` uint8 to ``[T, N, D]``."""
        return self.reader.hidden(rgb)

    @torch.no_grad()
    def read(self, footage: Any, method: Method, trace: Trace, looks: Sequence[Look]) -> Said:
        if not isinstance(trace, Encoded):
            return Said(self.reader.read(footage, looks))
        work = 1.0  # of the dense tower's
        if trace.flops is not None:
            one = layers.dense(self.reader.tower, pixel_values(footage.rgb(slice(0, 1)))).flops
            work = trace.flops / (one * len(trace.kind))
        return Said(self.reader.read_hidden(trace.features, looks), work)
