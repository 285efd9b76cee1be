"""The gate's settings, checked once, and the op's arguments that follow from them."""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal, TypedDict, get_args

from patchgate._check import (
    checked_choice,
    checked_count,
    checked_number,
    checked_size,
    checked_switch,
    settle,
)
from patchgate.grid import Fit


class Kind(IntEnum):
    """The kinds of cells: the values of ``GateResult.kind`` and ``VideoTokens.kind``."""

    STATIC = 0  # equal to the reference picture at its place
    MOVED = 1  # equal to another place of the reference picture
    CHANGED = 2  # new: the cell has a token of its own
    MERGED = 3  # in VideoTokens only: it had a token of its own, which joined another
    RETURNED = 4  # with ``memory`` only: equal to a remembered picture; it shows an earlier token


# The values in csrc/gate.h, as plain integers: tensors are compared with these.
STATIC, MOVED, CHANGED, MERGED, RETURNED = (int(kind) for kind in Kind)

OnMotion = Literal["encode", "camera", "reuse"]

_ON_MOTION_CODE = {"encode": 0, "camera": 1, "reuse": 2}  # csrc/gate.h
MAX_CELL = 256  # pixels: sums of a cell's column must fit 16 bits
_MAX_STEPS = 127  # the most steps of a vector, which is stored as int8
_MAX_AGE = 1_000_000  # frames: the state holds one number for each
_MOST_PICTURES = 64  # each is compared with every frame in which many cells changed


class GateRules(TypedDict, total=False):
    """The keywords of ``Gate`` that say which cells are new; ``Gate`` documents them."""

    threshold: float
    search_radius: int | None
    on_motion: OnMotion
    scene_cut: float | None
    max_age: int | None
    sub_blocks: int
    chroma: bool
    hysteresis: float | None
    noise: Literal["adaptive"] | None
    motion_precision: Literal[1, 2, 4]
    memory: int | None
    illumination: Literal["global"] | None


class GateKwargs(GateRules, total=False):
    """All keywords of ``Gate``, which documents them."""

    patch: int
    merge: int
    temporal_patch: int
    size: int | tuple[int, int] | None
    fit: Fit


GEOMETRY = ("patch", "merge", "temporal_patch", "size", "fit")  # the other keywords: the grid's


@dataclass(frozen=True)
class GateSettings:
    """The arguments of ``Gate``, which documents them. Numbers are those of Python, not numpy's."""

    threshold: float = 4
    search_radius: int | None = 8
    on_motion: OnMotion = "camera"
    scene_cut: float | None = 0.8
    max_age: int | None = None
    patch: int = 14
    merge: int = 1
    temporal_patch: int = 1
    sub_blocks: int = 2
    chroma: bool = True
    hysteresis: float | None = None
    noise: Literal["adaptive"] | None = None
    size: int | tuple[int, int] | None = None
    fit: Fit = "stretch"
    motion_precision: Literal[1, 2, 4] = 1
    memory: int | None = None
    illumination: Literal["global"] | None = None

    def __post_init__(self) -> None:
        precision = checked_count("motion_precision", self.motion_precision, 0)
        settle(
            self,
            threshold=checked_number("threshold", self.threshold, 0, 255, "grey levels"),
            patch=checked_count("patch", self.patch, 1),
            merge=checked_count("merge", self.merge, 1),
            temporal_patch=checked_count("temporal_patch", self.temporal_patch, 1, 2),
            sub_blocks=checked_count("sub_blocks", self.sub_blocks, 1),
            on_motion=checked_choice("on_motion", self.on_motion, _ON_MOTION_CODE),
            noise=checked_choice("noise", self.noise, (None, "adaptive")),
            illumination=checked_choice("illumination", self.illumination, (None, "global")),
            fit=checked_choice("fit", self.fit, get_args(Fit)),
            motion_precision=checked_choice("motion_precision", precision, (1, 2, 4)),
            chroma=checked_switch("chroma", self.chroma),
        )
        self._settle_rules()
        self._check_cell()
        if self.size is not None:
            settle(self, size=checked_size("size", self.size, self.cell))

    def _settle_rules(self) -> None:
        """Checks the rules that None switches off."""
        if self.search_radius is not None:
            precision = self.motion_precision
            name = "search_radius" + f" at motion_precision={precision}" * (precision > 1)
            reach = checked_count(name, self.search_radius, 0, _MAX_STEPS // precision)
            settle(self, search_radius=reach)
        if self.scene_cut is not None:
            cut = checked_number("scene_cut", self.scene_cut, 0, 1, "of the cells")
            settle(self, scene_cut=cut)
        if self.max_age is not None:
            settle(self, max_age=checked_count("max_age", self.max_age, 1, _MAX_AGE))
        if self.hysteresis is not None:
            factor = checked_number("hysteresis", self.hysteresis, 0, 1, "of the limit")
            settle(self, hysteresis=factor)
        if self.memory is not None:
            settle(self, memory=checked_count("memory", self.memory, 0, _MOST_PICTURES))
        if self.memory and self.illumination is not None:
            raise ValueError(
                f"memory, illumination: a gate has one of them, got memory={self.memory} and "
                f"illumination={self.illumination!r}"
            )

    def _check_cell(self) -> None:
        if self.cell > MAX_CELL:
            raise ValueError(
                f"patch * merge: expected at most {MAX_CELL} pixels, "
                f"got {self.patch} * {self.merge}"
            )
        if self.patch % self.sub_blocks:
            divisors = [k for k in range(1, self.patch + 1) if self.patch % k == 0]
            raise ValueError(
                f"sub_blocks: {self.sub_blocks} does not divide patch={self.patch}; "
                f"use one of {divisors}"
            )

    @property
    def cell(self) -> int:
        """The side of a cell in pixels."""
        return self.patch * self.merge

    @property
    def sub_block(self) -> int:
        """The side of a sub-block in pixels."""
        return self.patch // self.sub_blocks

    @property
    def limit(self) -> int:
        """The largest cost that passes: ``threshold`` times the pixels of a sub-block."""
        return math.floor(self.threshold * self.sub_block**2)

    def picture_bytes(self, h: int, w: int) -> int:
        """Returns the bytes of one picture that ``memory`` remembers, of ``h x w`` cells."""
        samples = self.temporal_patch * (3 if self.chroma else 1) * self.cell**2  # of a cell
        return h * w * (samples + 8)

    def op_rules(self, cells: int) -> dict[str, Any]:
        """Returns the rules as the op's integers, in its order, for a grid of that many cells.

        They are computed in float64.
        """
        texture = 2 * self.threshold * self.cell**2 * self.temporal_patch
        return {
            "cell": self.cell,
            "sub_block": self.sub_block,
            "limit": self.limit,
            "texture": math.floor(texture),
            "search_radius": self.search_radius or 0,
            "on_motion": _ON_MOTION_CODE[self.on_motion],
            "cut": -1 if self.scene_cut is None else math.floor(self.scene_cut * cells),
            "hysteresis": -1.0 if self.hysteresis is None else self.hysteresis,
            "adaptive": self.noise == "adaptive",
            "motion_precision": self.motion_precision,
        }
