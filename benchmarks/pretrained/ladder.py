"""What is measured: every method with its settings, by the line of the plots that it belongs to."""

import math
from typing import NamedTuple

from plots import OURS

from pretrained.methods import Dense, Inside, Method, RunLength, Sampled, gated

DENSE, SAMPLED = "dense", "dense, every k-th frame, held"
OTHERS, FEWER, RLT = "patchgate, other settings", "patchgate, fewer frames", "RLT, residual"
MINE = (OURS, OTHERS, FEWER)

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
    def timed(self) -> bool:
        """Whether a clock says its time: dense frames cost what they cost, held ones nothing."""
        return self.family not in (DENSE, SAMPLED)


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
    *(Step(FEWER, Sampled(k, gated(**_beside))) for k in (2, 3)),
    *(Step(peer, Inside(peer, each)) for peer in ("Eventful", "STC") for each in (0.5, 0.25, 0.1)),
    *(Step(RLT, RunLength(tau)) for tau in (0.05, 0.1, 0.2)),
)  # fmt: skip
