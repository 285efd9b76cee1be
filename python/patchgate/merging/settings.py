"""The settings of merging, checked once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, TypedDict, get_args

from patchgate._check import checked_choice, checked_count, checked_number, checked_switch, settle
from patchgate._check.text import nearest_first

Per = Literal["video", "frame", "second"]

DELTA = 0.05
_MOST = 1 << 40  # tokens
_NUMBERS = {
    "ratio": (1.0, "of the tokens"),
    "threshold": (math.inf, "of a token's length"),
    "delta": (math.log(2), "nats"),
    "agreement": (math.inf, "of a token's length"),
}
_COUNTS = {"budget": (0, _MOST), "window": (1, None), "memory": (0, None), "reach": (0, None)}
_LOOSEST = {
    "spatial": True,
    "similar": True,
    "keep_grid": False,
    "delta": None,
    "every_frame": False,
}


class MergeKwargs(TypedDict, total=False):
    """The keywords of ``merge`` and ``MergeStream``; ``merge`` documents them."""

    budget: int | None
    ratio: float | None
    threshold: float | None
    per: Per
    spatial: bool
    similar: bool
    keep_grid: bool
    delta: float | None
    memory: int
    reach: int
    agreement: float | None
    every_frame: bool
    window: int | None


class RelaxKwargs(TypedDict, total=False):
    """The keywords of ``MergeStream.relax``, which documents them."""

    budget: int
    ratio: float
    spatial: bool
    similar: bool
    keep_grid: bool
    delta: float | None
    every_frame: bool


@dataclass(frozen=True)
class MergeSettings:
    """The arguments of ``merge``, which documents them."""

    budget: int | None = None
    ratio: float | None = None
    threshold: float | None = None
    per: Per = "video"
    spatial: bool = True
    similar: bool = False
    keep_grid: bool = False
    delta: float | None = DELTA
    memory: int = 4
    reach: int = 2
    agreement: float | None = 0.3
    every_frame: bool = False
    window: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Makes settings of those that a caller gave."""
        known = [field.name for field in fields(cls)]
        unknown = [name for name in given if name not in known]
        if unknown:
            listed = ", ".join(nearest_first(unknown[0], known))
            raise TypeError(f"merge: expected settings of {listed}, got {unknown[0]!r}")
        return cls(**given)

    def relaxed(self, given: Mapping[str, Any]) -> Self:
        """Returns settings with some changed, none of which may ask for more than before."""
        shares = [name for name in ("budget", "ratio") if getattr(self, name) is not None]
        known = {name: value for name, value in given.items() if name in (*shares, *_LOOSEST)}
        wanted = replace(self, **known)
        for name, value in given.items():
            loosest = name in _LOOSEST and getattr(wanted, name) is _LOOSEST[name]
            if name not in shares and not loosest:
                loose = [f"{key}={loosest}" for key, loosest in _LOOSEST.items()]
                expected = ", ".join([f"a higher {share}" for share in shares] + loose)
                raise ValueError(f"relax: expected some of {expected}, got {name}={value!r}")
        for name in shares:
            if getattr(wanted, name) is None or getattr(wanted, name) < getattr(self, name):
                raise ValueError(
                    f"{name}: expected no less than {getattr(self, name)}, got {given[name]!r}"
                )
        return wanted

    def __post_init__(self) -> None:
        asked = {"budget": self.budget, "ratio": self.ratio, "threshold": self.threshold}
        given = [f"{name}={value}" for name, value in asked.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"merge: expected one of budget, ratio and threshold, got {', '.join(given) or 0}"
            )
        self._settle()
        self._check_together()

    def _settle(self) -> None:
        """Checks each setting alone."""
        for name, (high, unit) in _NUMBERS.items():
            if (number := getattr(self, name)) is not None:
                settle(self, **{name: checked_number(name, number, 0, high, unit)})
        for name, (low, most) in _COUNTS.items():
            if (count := getattr(self, name)) is not None or name in ("memory", "reach"):
                settle(self, **{name: checked_count(name, count, low, most)})
        for name in ("spatial", "similar", "keep_grid", "every_frame"):
            settle(self, **{name: checked_switch(name, getattr(self, name))})
        settle(self, per=checked_choice("per", self.per, get_args(Per)))

    def _check_together(self) -> None:
        if self.per != "video" and self.budget is None:
            raise ValueError(f"per: {self.per!r} goes with a budget of tokens")
        if self.window is not None and self.budget is not None and self.per == "video":
            raise ValueError(
                "window: a budget of the whole video cannot be shared out before its end is known; "
                'give one per="frame" or per="second", or a ratio or threshold'
            )
        if self.keep_grid and self.similar:
            raise ValueError("keep_grid: similar=True joins tokens of any two cells; take one")

    @property
    def block(self) -> int:
        """The side in cells of the blocks within which ``keep_grid`` merges."""
        return 2 if self.spatial else 1
