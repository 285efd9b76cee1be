"""The ways in which what a method leaves is looked at.

Letters: T frames, N cells of a frame, D features.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

import patchgate
from reading.known import Known
from reading.looks import Look
from reading.methods import COARSE, RULES, Dense, Method, Ours, Trace, ours
from reading.readers import Pictures, Reader
from reading.trial import Said, Viewer
from reading.truth import SCREEN, SMALL, Size

# What a cell that was not kept means to the tower: settings of ``patchgate.gated``.
CONTEXTS: dict[str, dict[str, Any]] = {
    "kept": {"context": "kept"},
    "residual": {"tolerance": math.inf},
    **{f"tolerance {value}": {"tolerance": value} for value in (0.5, 0.3, 0.2, 0.15, 0.1, 0.05)},
    "tolerance 0.2, first 2 layers": {"tolerance": 0.2, "tolerance_layers": 2},
    "residual, moved cells lent": {"tolerance": math.inf, "moved": "lend"},
    **{
        f"tolerance 0.15, moved cells {name}": {"tolerance": 0.15, "moved": moved}
        for name, moved in (("from sources", "source"), ("lent", "lend"))
    },
    **{f"refresh {n}": {"tolerance": math.inf, "refresh": n} for n in (8, 4)},
}
RULED = ("residual", "tolerance 0.2")  # in which light and returns are looked at, too
_TOWERS_OWN = ("patch", "merge", "temporal_patch", "size", "fit")


@dataclass
class ByKind:
    """Gives each look to the reader of its kind."""

    readers: dict[str, Reader]

    def read(self, pictures: Pictures, looks: Sequence[Look]) -> list[str]:
        said: dict[Look, str] = {}
        for kind, reader in self.readers.items():
            own = [look for look in looks if look.kind == kind]
            said |= zip(own, reader.read(pictures, own), strict=True)
        return [said[look] for look in looks]


@dataclass
class OnPictures:
    """A reader shown the pictures that the tokens say: what the choice of tokens alone costs."""

    name: str
    size: Size
    reader: Reader
    coarse: bool = False  # few methods: the reader is slow

    def suits(self, method: Method) -> bool:
        return not self.coarse or method in COARSE

    def read(self, footage: Any, method: Method, trace: Trace, looks: Sequence[Look]) -> Said:
        known = Known(footage, trace, {look.frame for look in looks})
        return Said(self.reader.read(known, looks))


@dataclass
class Gated:
    """A reader whose own tower is gated: what a user of ``patchgate.gated`` gets.

    The dense tower is what it is measured against, as it is for ``OnPictures``.
    """

    name: str
    size: Size
    reader: Any  # a VitReader
    settings: dict[str, Any] = field(default_factory=dict)
    ruled: bool = False  # with the rules for light and for what returns, too

    def suits(self, method: Method) -> bool:
        return method in (Dense(), ours()) or (self.ruled and method in RULES)

    def read(self, footage: Any, method: Method, trace: Trace, looks: Sequence[Look]) -> Said:
        from reading.vit.model import pixel_values

        if not isinstance(method, Ours):
            return Said(self.reader.read(footage, looks))
        pixels = pixel_values(footage.rgb(slice(None)))  # [T, 3, H, W]
        rules = {k: v for k, v in method.settings.items() if k not in _TOWERS_OWN}
        tower = patchgate.gated(self.reader.tower, self.reader.spec, **self.settings, **rules)
        with torch.inference_mode():
            hidden = tower(pixels).last_hidden_state  # [T, N, D]
        work = tower.last_work
        return Said(self.reader.read_hidden(hidden, looks), work.gated_flops / work.dense_flops)


def ocr() -> list[Viewer]:
    """PP-OCR on rebuilt pictures; shapes by their masks."""
    from reading.readers.ocr import OcrReader
    from reading.readers.shapes import ShapeReader

    reader = ByKind({"text": OcrReader(threads=1), "shape": ShapeReader()})
    return [OnPictures("PP-OCR", SCREEN, reader)]


def vit() -> list[Viewer]:
    """The small transformer: dense on rebuilt pictures, and gated in every context."""
    from reading.readers.vit import VitReader

    reader = VitReader()
    contexts = [
        Gated(f"ViT, gated, context {name}", SMALL, reader, settings, name in RULED)
        for name, settings in CONTEXTS.items()
    ]
    return [OnPictures("ViT, dense on rebuilt pictures", SMALL, reader, coarse=True), *contexts]


VIEWERS: dict[str, Callable[[], list[Viewer]]] = {"ocr": ocr, "vit": vit}


def load(name: str) -> list[Viewer]:
    """The viewers of a reader.

    Raises:
        SystemExit: something that it needs is not there; the message names it.
    """
    try:
        return VIEWERS[name]()
    except (ImportError, FileNotFoundError) as error:
        others = " or ".join(f"--reader {other}" for other in VIEWERS if other != name)
        sys.exit(f"the reader {name} cannot be loaded: {error}; go without it by {others}")
