"""What merging is asked for, checked once."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from patchgate._check import checked_choice, checked_count, checked_number

Per = Literal["video", "frame", "second"]

DELTA = 0.05
_MOST = 1 << 40  # tokens


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

    def __post_init__(self) -> None:
        asked = {"budget": self.budget, "ratio": self.ratio, "threshold": self.threshold}
        given = [f"{name}={value}" for name, value in asked.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"merge: expected one of budget, ratio and threshold, got {', '.join(given) or 0}"
            )
        if self.budget is not None:
            checked_count("budget", self.budget, 0, _MOST)
        if self.ratio is not None:
            checked_number("ratio", self.ratio, 0, 1, "of the tokens")
        if self.threshold is not None:
            checked_number("threshold", self.threshold, 0, math.inf, "of a token's length")
        if self.delta is not None:
            checked_number("delta", self.delta, 0, math.log(2), "nats")
        if self.agreement is not None:
            checked_number("agreement", self.agreement, 0, math.inf, "of a token's length")
        if self.window is not None:
            checked_count("window", self.window, 1)
        checked_count("memory", self.memory, 0)
        checked_count("reach", self.reach, 0)
        checked_choice("per", self.per, get_args(Per))
        self._check_switches()

    def _check_switches(self) -> None:
        for name in ("spatial", "similar", "keep_grid", "every_frame"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name}: expected True or False, got {getattr(self, name)!r}")
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
        """Side in cells of the blocks that a grid is kept of."""
        return 2 if self.spatial else 1
