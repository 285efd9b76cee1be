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


class Named(NamedTuple):
    """A policy: ``run(frames, budget, ..) -> Plan``."""

    run: Callable[..., Plan]
    needs: tuple[str, ...] = ()  # fields of Frames that must be set
    or_scores: bool = False  # ``rel`` can be given in their place

    @property
    def has_strict(self) -> bool:
        """Whether the policy takes ``strict``: its published code differs from the default."""
        return "strict" in inspect.signature(self.run).parameters


POLICIES: dict[str, Named] = {
    "uniform": Named(query_free.uniform),
    "framethinker": Named(query_free.framethinker),
    "love_r1": Named(love_r1),
    "date": Named(by_relevance.date, ("rel",)),
    "apollo": Named(query_free.apollo),
    "sevila": Named(by_relevance.sevila, ("rel",)),
    "earl": Named(query_free.earl),
    "frame_skip": Named(query_free.frame_skip),
    "chronoforge": Named(query_free.chronoforge, ("delta",)),
    "kffocus": Named(query_free.kffocus, ("key",)),
    "f2c": Named(f2c, ("rel",)),
    "cvvae": Named(query_free.cvvae),
    "aks": Named(by_relevance.aks, ("rel",)),
    "bolt": Named(by_relevance.bolt, ("rel",)),
    "mdp3": Named(by_relevance.mdp3, ("rel", "feat")),
    "q_frame": Named(by_relevance.q_frame, ("rel",)),
    "maxinfo": Named(query_free.maxinfo, ("feat",)),
    "mgsampler": Named(query_free.mgsampler, ("delta",)),
    "slice": Named(query_free.slice, ("delta",), or_scores=True),
    "focus": Named(focus, ("rel",)),
}
