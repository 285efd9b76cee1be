"""How processors resize: the sizes they choose, the filters, the order of the passes.

A size rule's ``target`` takes a frame's height and width and the cell's side, in pixels.
"""

import math
from dataclasses import dataclass
from typing import Literal

from patchgate._check import checked_count, settle

Filter = Literal["bicubic", "bilinear", "lanczos"]
FirstPass = Literal["horizontal", "pillow13"]


@dataclass(frozen=True)
class Keep:
    """Keeps the frame's size."""

    def target(self, height: int, width: int, cell: int) -> tuple[int, int]:
        return height, width


@dataclass(frozen=True)
class Stretch:
    """Resizes to one size, whatever the aspect ratio (SigLIP)."""

    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            settle(self, **{name: checked_count(name, getattr(self, name), 1)})

    def target(self, height: int, width: int, cell: int) -> tuple[int, int]:
        return self.height, self.width


@dataclass(frozen=True)
class ShortestEdge:
    """Resizes the shorter side to ``edge``, and rounds the longer one down (CLIP)."""

    edge: int

    def __post_init__(self) -> None:
        settle(self, edge=checked_count("edge", self.edge, 1))

    def target(self, height: int, width: int, cell: int) -> tuple[int, int]:
        if height < width:
            return self.edge, int(self.edge * width / height)
        return int(self.edge * height / width), self.edge


@dataclass(frozen=True)
class PixelRange:
    """Resizes sides to multiples of the cell, within bounds of pixels (Qwen-VL's smart_resize)."""

    least: int
    most: int

    def __post_init__(self) -> None:
        for name in ("least", "most"):
            settle(self, **{name: checked_count(name, getattr(self, name), 1)})

    def target(self, height: int, width: int, cell: int) -> tuple[int, int]:
        if max(height, width) > 200 * min(height, width):
            raise ValueError(f"frames of {height} x {width}: an aspect ratio of more than 200")
        h, w = round(height / cell) * cell, round(width / cell) * cell
        if h * w > self.most:
            shrink = math.sqrt(height * width / self.most)
            h = max(cell, math.floor(height / shrink / cell) * cell)
            w = max(cell, math.floor(width / shrink / cell) * cell)
        elif h * w < self.least:
            grow = math.sqrt(self.least / (height * width))
            h = math.ceil(height * grow / cell) * cell
            w = math.ceil(width * grow / cell) * cell
        return h, w


@dataclass(frozen=True)
class PatchBudget:
    """Resizes to the largest scale at which the patches are few enough (SigLIP2 NaFlex)."""

    patches: int

    def __post_init__(self) -> None:
        settle(self, patches=checked_count("patches", self.patches, 1))

    def target(self, height: int, width: int, cell: int) -> tuple[int, int]:
        def scaled(scale: float) -> tuple[int, int]:
            h, w = (max(1, math.ceil(side * scale / cell)) * cell for side in (height, width))
            return h, w

        # The processor's own bisection: where it stops decides the size.
        low, high = 1e-6, 100.0
        while high - low >= 1e-5:
            middle = (low + high) / 2
            h, w = scaled(middle)
            if h // cell * (w // cell) <= self.patches:
                low = middle
            else:
                high = middle
        return scaled(low)


SizeRule = Keep | Stretch | ShortestEdge | PixelRange | PatchBudget
