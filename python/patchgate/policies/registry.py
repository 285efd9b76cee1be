"""Every named policy, and what it asks of the frames."""

import inspect
from collections.abc import Callable
from typing import NamedTuple

from patchgate.policies import peers, seeds
from patchgate.policies.f2c import f2c
from patchgate.policies.focus import focus
from patchgate.policies.plan import Plan


class Named(NamedTuple):
    """A policy: ``run(frames, budget, ..) -> Plan``."""

    run: Callable[..., Plan]
    needs: tuple[str, ...] = ()  # fields of Frames that must be set
    or_scores: bool = False  # ``rel`` will do in their place

    @property
    def has_strict(self) -> bool:
        """Whether its published code does something else than the default."""
        return "strict" in inspect.signature(self.run).parameters


POLICIES: dict[str, Named] = {
    "uniform": Named(peers.uniform),
    "framethinker": Named(seeds.framethinker),
    "love_r1": Named(seeds.love_r1),
    "date": Named(seeds.date, ("rel",)),
    "apollo": Named(seeds.apollo),
    "sevila": Named(seeds.sevila, ("rel",)),
    "earl": Named(seeds.earl),
    "frame_skip": Named(seeds.frame_skip),
    "chronoforge": Named(seeds.chronoforge, ("delta",)),
    "kffocus": Named(seeds.kffocus, ("key",)),
    "f2c": Named(f2c, ("rel",)),
    "cvvae": Named(seeds.cvvae),
    "aks": Named(peers.aks, ("rel",)),
    "bolt": Named(peers.bolt, ("rel",)),
    "mdp3": Named(peers.mdp3, ("rel", "feat")),
    "q_frame": Named(peers.q_frame, ("rel",)),
    "maxinfo": Named(peers.maxinfo, ("feat",)),
    "mgsampler": Named(peers.mgsampler, ("delta",)),
    "slice": Named(peers.slice, ("delta",), or_scores=True),
    "focus": Named(focus, ("rel",)),
}
