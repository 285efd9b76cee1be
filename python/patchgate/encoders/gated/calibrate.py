"""Finds the cheapest settings at which a tower's answers stay those of the dense tower."""

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from patchgate._check import checked_number
from patchgate.encoders.gated.answers import Pointing, Readout, Trying
from patchgate.encoders.gated.fixed import FixedTower
from patchgate.encoders.gated.search import Rules, Trial, cheapest
from patchgate.encoders.gated.tower import GatedTower, TowerStream

_TOLERANCES = (math.inf, 0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.0)
_THRESHOLDS = (12.0, 8.0, 4.0, 2.0, 1.0, 0.0)  # beside the tower's own
_SUB_BLOCKS = (1, 2)  # the same


@dataclass(frozen=True)
class Calibration:
    """The settings that ``calibrate`` found, and all that it tried. ``print`` shows the curve."""

    tolerance: float
    target: float
    trials: tuple[Trial, ...]  # in the order in which they were tried
    threshold: float
    sub_blocks: int

    @property
    def best(self) -> Trial:
        """The trial of the settings that were found."""
        own = (self.threshold, self.sub_blocks, self.tolerance)
        return next(each for each in self.trials if each.rules == own)

    def __str__(self) -> str:
        best = self.best
        lines = [
            f"{best.rules}: {best.agreement:.2%} of the answers are the dense tower's (target "
            f"{self.target:.2%}), at {best.work:.1%} of the work",
            "  threshold  sub_blocks  tolerance  answers    work",
        ]
        for each in sorted(self.trials, key=lambda trial: (trial.work, -trial.agreement)):
            lines.append(
                f"{'*' if each is best else ' '} {each.threshold:>9g}  {each.sub_blocks:>10}  "
                f"{each.tolerance:>9g}  {each.agreement:>7.2%}  {each.work:>6.1%}"
            )
        return "\n".join(lines)


@torch.no_grad()
def calibrate(
    tower: GatedTower,
    clips: Iterable[Any],
    readout: Readout | None = None,
    target: float = 0.99,
    tolerances: Sequence[float] = _TOLERANCES,
    thresholds: Sequence[float] | None = None,
    sub_blocks: Sequence[int] | None = None,
) -> Calibration:
    """Finds and sets the cheapest settings at which the tower's answers stay right.

    An answer is right if it is the one that the dense tower over the frames' own pixels gives. The
    search takes, of all settings that it tried and at which, on every clip, the target's share of
    the answers is right, those of the least work. The tower uses them from then on. So does every
    tower that ``gated`` makes of the same model later: they are kept in
    ``model.config.patchgate``, which ``save_pretrained`` writes; arguments of ``gated`` come before
    them.

    The promise is measured, and holds for these clips: what other clips keep is for other clips to
    tell. Not all combinations are tried. The search begins at the tower's own threshold and
    sub-blocks and goes from the largest tolerance down. It leaves out what is looser than settings
    that failed, and what is stricter than settings that cost as much as the best so far. Every
    clip goes through the tower once for each of the settings that it tries, and once for the right
    answers: with the defaults, ten to thirty times.

    Args:
        tower: a tower made by ``gated`` with ``context="full"``, without a capacity.
        clips: pixel values, as the tower takes them, or for a clip with further arguments a dict.
        readout: a function from the tower's output to a list, a tuple or a tensor of answers
            (classes, strings, token ids), of the same length for the same clip. None: the answers
            are the numbers of those of 32 random directions to which the tokens' centred features
            point most. No task of yours asks for these, and many are near ties, which the smallest
            difference decides: on real video they may ask for a threshold of 1 or 0, where classes
            or strings do not. Give your own function if you have one. Do not use cosine similarity:
            at 0.997, 7 % of the strings were already wrong (docs/towers.md).
        target: the share of the answers that must stay right, above 0 and at most 1.
        tolerances: the tolerances to try; 0 is always among them.
        thresholds: the thresholds to try, in grey levels of 255; ``[4]`` leaves it at 4. None: 0,
            1, 2, 4, 8, 12 and the tower's own. With 0, any target can be reached.
        sub_blocks: the sub-blocks to try; each divides the patch. None: 1, 2 and the tower's own.

    Returns:
        The settings that were found, with the share of answers and the work of all that were tried.
        Its text is the curve, from the least work to the most.

    Raises:
        TypeError: the tower is no such tower; the read-out gives no list of answers.
        ValueError: there are no clips; the target or settings are out of range; answers are NaN,
            more or fewer than those of the dense tower, or others for the same features; no
            settings reach the target. The tower is left as it was.

    The call synchronises.

    Source: our own method; docs/towers.md has the figures.
    """
    _check_tower(tower)
    target = checked_number("target", target, 0, 1, "of the answers")
    if not target:
        raise ValueError("target: expected a share above 0, got 0")
    given = [clip if isinstance(clip, dict) else {"pixel_values": clip} for clip in clips]
    if not given:
        raise ValueError("clips: expected at least one, got none")
    own = Rules(
        tower.gate_settings.threshold, tower.gate_settings.sub_blocks, tower.fidelity.tolerance
    )
    gates = _gates(tower, thresholds, sub_blocks)
    tolerances = [
        checked_number("tolerances", each, 0, math.inf, "of a state's norm") for each in tolerances
    ]
    before = tower.gate_settings, tower.fidelity, tower.last_work
    try:
        trying = Trying(tower, given, readout or Pointing())
        best, trials = cheapest(own, *gates, {*tolerances, 0.0}, target, trying)
        if best is None:
            raise ValueError(_unreached(trials, target, before[1].tolerance_layers))
    except BaseException:
        tower.gate_settings, tower.fidelity, tower.last_work = before
        raise
    trying.set(best.rules)
    config = getattr(tower.tower, "config", None)
    if config is not None:
        # The tolerance as text: JSON has no infinity.
        kept = {"tolerance": str(best.tolerance), "threshold": best.threshold}
        config.patchgate = {**kept, "sub_blocks": best.sub_blocks, "target": target}
    return Calibration(best.tolerance, target, tuple(trials), best.threshold, best.sub_blocks)


def calibrated(model: Any) -> dict[str, Any]:
    """Returns the settings that an earlier calibration left with a model.

    A tolerance without a threshold comes from a version that measured it by another rule; a
    warning says that it is not used.
    """
    kept = getattr(getattr(model, "config", None), "patchgate", None)
    if not kept:
        return {}
    if "threshold" not in kept:
        warnings.warn(
            f"tower: config.patchgate has a tolerance of {kept['tolerance']} that an earlier "
            "version of patchgate found; a tolerance means something else now, and the default is "
            "used instead. Run patchgate.calibrate again, or delete config.patchgate",
            stacklevel=3,
        )
        return {}
    return {
        "tolerance": float(kept["tolerance"]),
        "threshold": float(kept["threshold"]),
        "sub_blocks": int(kept["sub_blocks"]),
    }


def _check_tower(tower: Any) -> None:
    if not isinstance(tower, GatedTower):
        raise TypeError(f"tower: expected one made by gated(...), got {type(tower).__name__}")
    if isinstance(tower, TowerStream):
        raise TypeError("tower: expected the gated tower itself, got a stream, which has a state")
    if isinstance(tower, FixedTower):
        raise TypeError(
            "tower: expected one without capacity, whose answers would lack the cells that do not "
            "fit; gated(..., capacity=) of the same model uses the settings that are found"
        )
    if tower.fidelity.context != "full":
        raise ValueError('tower: only context="full" has a tolerance')


def _gates(
    tower: GatedTower, thresholds: Sequence[float] | None, sub_blocks: Sequence[int] | None
) -> tuple[list[float], list[int]]:
    """Returns the thresholds and sub-blocks to try, checked as the gate checks them."""
    own = tower.gate_settings
    if thresholds is None:
        thresholds = [*_THRESHOLDS, own.threshold]
    if sub_blocks is None:
        sub_blocks = [own.sub_blocks, *(n for n in _SUB_BLOCKS if own.patch % n == 0)]
    levels = [replace(own, threshold=each).threshold for each in thresholds]
    parts = [replace(own, sub_blocks=each).sub_blocks for each in sub_blocks]
    for name, values in (("thresholds", levels), ("sub_blocks", parts)):
        if not values:
            raise ValueError(f"{name}: expected at least one, or None, got none")
    return levels, parts


def _unreached(trials: Sequence[Trial], target: float, layers: int | None) -> str:
    best = max(trials, key=lambda trial: trial.agreement)
    hint = "" if layers is None else f", gate the tower with more than tolerance_layers={layers}"
    return (
        f"target: no settings that were tried keep {target:.2%} of the answers; the best, "
        f"{best.rules}, keep {best.agreement:.2%}: add smaller thresholds (0 is exact){hint}, or "
        "lower the target"
    )
