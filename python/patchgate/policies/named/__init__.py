"""The named policies, and the statistics of frames that each needs.

query_free.py    policies that need no query; love_r1.py holds a longer one
by_relevance.py  policies that score frames by a query; f2c.py and focus.py hold longer ones
compose.py       the steps with which each policy begins and ends
published.py     the policies as public code has them, with its defects (``strict=True``)
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple

from patchgate.policies.named import by_relevance, query_free
from patchgate.policies.named.f2c import f2c
from patchgate.policies.named.focus import focus
from patchgate.policies.named.love_r1 import love_r1
from patchgate.policies.plan import Plan

__all__ = [
    "POLICIES",
    "Named",
]


class Named(NamedTuple):
    """A policy: ``run(frames, budget, ..) -> Plan``."""

    run: Callable[..., Plan]
    says: str  # what it chooses, in one plain line
    needs: tuple[str, ...] = ()  # fields of Frames that must be set
    or_scores: bool = False  # ``rel`` can be given in their place

    @property
    def has_strict(self) -> bool:
        """Whether the policy takes ``strict``: its published code differs from the default."""
        return "strict" in inspect.signature(self.run).parameters


POLICIES: dict[str, Named] = {
    "uniform": Named(query_free.uniform, "evenly spaced frames"),
    "framethinker": Named(
        query_free.framethinker,
        "8 evenly spaced frames, 12 from 5 minutes on, at a lower resolution",
    ),
    "love_r1": Named(
        love_r1, "2 frames a second: some in full detail, those between them in little"
    ),
    "date": Named(
        by_relevance.date,
        "the best-scored frames that keep a distance in time, which shrinks until there are enough",
        ("rel",),
    ),
    "apollo": Named(query_free.apollo, "short clips of neighbouring frames, evenly spaced"),
    "sevila": Named(by_relevance.sevila, "the best-scored of 32 evenly spaced frames", ("rel",)),
    "earl": Named(
        query_free.earl, "32 evenly spaced frames; later looks lie around those that a model picked"
    ),
    "frame_skip": Named(query_free.frame_skip, "every n-th frame"),
    "chronoforge": Named(
        query_free.chronoforge, "the frames where the picture changes most", ("delta",)
    ),
    "kffocus": Named(
        query_free.kffocus,
        "key frames and evenly spaced ones between, most with a quarter of their tokens",
        ("key",),
    ),
    "f2c": Named(f2c, "short clips around the best scores, longer ones in less detail", ("rel",)),
    "cvvae": Named(query_free.cvvae, "the first frame, then evenly spaced groups of 4"),
    "aks": Named(
        by_relevance.aks,
        "the best-scored frames, spread over the parts of the video where scores stand out",
        ("rel",),
    ),
    "bolt": Named(
        by_relevance.bolt,
        "frames spread over the scores: many where they are high, few where they are low",
        ("rel",),
    ),
    "mdp3": Named(
        by_relevance.mdp3, "frames that score well and look unlike each other", ("rel", "feat")
    ),
    "q_frame": Named(
        by_relevance.q_frame,
        "frames drawn by their scores, the best in full detail, the others smaller",
        ("rel",),
    ),
    "maxinfo": Named(
        query_free.maxinfo, "frames that look as unlike each other as possible", ("feat",)
    ),
    "mgsampler": Named(
        query_free.mgsampler,
        "frames spread evenly over the motion: more where much moves",
        ("delta",),
    ),
    "slice": Named(
        query_free.slice,
        "the best frame of each step of smoothed scores (or of change, without scores)",
        ("delta",),
        or_scores=True,
    ),
    "focus": Named(focus, "the best-scored frames, found by scoring only a part of them", ("rel",)),
}
