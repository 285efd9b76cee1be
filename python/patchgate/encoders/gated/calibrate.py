"""Finds the largest tolerance at which a tower's answers stay those of the exact one.

Letters: T frames, M tokens of a frame, D features.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from patchgate._check import checked_number
from patchgate.encoders.gated.fixed import FixedTower
from patchgate.encoders.gated.tower import GatedTower, TowerStream

Readout = Callable[[Any], Any]

_TOLERANCES = (float("inf"), 0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.01, 0.0)
_PROBES = 32  # directions of the default read-out


@dataclass(frozen=True)
class Trial:
    """The answers that a tolerance kept, and the work that it took."""

    tolerance: float
    agreement: float  # the share of answers that are those of tolerance 0
    work: float  # operations divided by those of the dense tower


@dataclass(frozen=True)
class Calibration:
    """The tolerance that ``calibrate`` found, and all that it tried."""

    tolerance: float
    target: float
    trials: tuple[Trial, ...]  # from the largest tolerance on

    def __str__(self) -> str:
        lines = [f"tolerance {self.tolerance:g} keeps {self.target:.1%} of the answers"]
        for each in self.trials:
            lines.append(
                f"  {each.tolerance:>5g}: {each.agreement:.2%} at {each.work:.1%} of the work"
            )
        return "\n".join(lines)


@torch.no_grad()
def calibrate(
    tower: GatedTower,
    clips: Iterable[Any],
    readout: Readout | None = None,
    target: float = 0.99,
    tolerances: Sequence[float] = _TOLERANCES,
) -> Calibration:
    """Finds and sets the largest tolerance at which the tower's answers stay right.

    Every clip goes through the tower once for each tolerance, from the largest down. The search
    stops where, on every clip, the target's share of the answers are those of ``tolerance=0`` (the
    dense tower over what the gate kept). The tower uses that tolerance from then on. So does every
    tower that ``gated`` makes of the same model later: the tolerance is kept in
    ``model.config.patchgate``, which ``save_pretrained`` writes.

    Args:
        tower: a tower made by ``gated`` with ``context="full"``, without a capacity.
        clips: pixel values, as the tower takes them, or for a clip with further arguments a dict.
        readout: a function from the tower's output to a list, a tuple or a tensor of answers
            (classes, strings, token ids), of the same length for the same clip. None: the answers
            are the numbers of those of 32 random directions to which the tokens' centred features
            point most. No task of yours asks for these: give your own function if you have one. Do
            not use cosine similarity: at 0.997, 7 % of the strings were already wrong
            (docs/towers.md).
        target: the share of the answers that must stay the same, above 0 and at most 1.
        tolerances: the tolerances to try; 0 need not be among them.

    Returns:
        The tolerance that was found, with the share of answers and the work of each one tried.

    Raises:
        TypeError, ValueError: the tower is no such tower; there are no clips; the target is out of
            range; the answers cannot be compared.

    Source: our own method; docs/towers.md has the figures.
    """
    if not isinstance(tower, GatedTower):
        raise TypeError(f"tower: expected one made by gated(...), got {type(tower).__name__}")
    if isinstance(tower, TowerStream):
        raise TypeError("tower: expected the gated tower itself, got a stream, which has a state")
    if isinstance(tower, FixedTower):
        raise TypeError(
            "tower: expected one without capacity, whose answers would lack the cells that do not "
            "fit; gated(..., capacity=) of the same model uses the tolerance that is found"
        )
    if tower.fidelity.context != "full":
        raise ValueError('tower: only context="full" has a tolerance')
    target = checked_number("target", target, 0, 1, "of the answers")
    if not target:
        raise ValueError("target: expected a share above 0, got 0")
    given = [clip if isinstance(clip, dict) else {"pixel_values": clip} for clip in clips]
    if not given:
        raise ValueError("clips: expected at least one, got none")
    tolerances = [
        checked_number("tolerances", tolerance, 0, math.inf, "of the attention output")
        for tolerance in tolerances
    ]
    before = tower.fidelity
    try:
        trials = _trials(tower, given, readout or _Pointing(), target, tolerances)
    except BaseException:
        tower.fidelity = before
        raise
    found = Calibration(trials[-1].tolerance, target, tuple(trials))
    tower.fidelity = replace(before, tolerance=found.tolerance)
    config = getattr(tower.tower, "config", None)
    if config is not None:
        # As text: JSON has no infinity.
        config.patchgate = {"tolerance": str(found.tolerance), "target": target}
    return found


def calibrated(model: Any) -> dict[str, float]:
    """Returns the settings that an earlier calibration left with a model."""
    kept = getattr(getattr(model, "config", None), "patchgate", None)
    return {"tolerance": float(kept["tolerance"])} if kept else {}


def _trials(
    tower: GatedTower,
    clips: list[dict[str, Any]],
    readout: Readout,
    target: float,
    tolerances: Sequence[float],
) -> list[Trial]:
    limit = tower.fidelity.tolerance_layers
    exact = [_answers(tower, clip, readout, 0.0, None)[0] for clip in clips]
    trials = []
    for tolerance in sorted({*tolerances, 0.0}, reverse=True):
        shares, gated, dense = [], 0.0, 0.0
        for clip, right in zip(clips, exact, strict=True):
            answers, work = _answers(tower, clip, readout, tolerance, limit)
            shares.append(_agreement(right, answers))
            gated, dense = gated + work.gated_flops, dense + work.dense_flops
        trials.append(Trial(tolerance, min(shares), gated / dense))
        if trials[-1].agreement >= target:
            return trials
    raise ValueError(
        f"target: even tolerance 0 gives the same answers only to {trials[-1].agreement:.1%}: the "
        "read-out is not deterministic, or tolerance_layers is too small"
    )


def _answers(
    tower: GatedTower,
    clip: dict[str, Any],
    readout: Readout,
    tolerance: float,
    layers: int | None,
) -> tuple[list[Any], Any]:
    tower.fidelity = replace(tower.fidelity, tolerance=tolerance, tolerance_layers=layers)
    answers = readout(tower(**clip))
    if isinstance(answers, Tensor):
        answers = answers.tolist()
    if not isinstance(answers, list | tuple) or not len(answers):
        raise TypeError(
            f"readout: expected a list, a tuple or a tensor of answers, got {answers!r:.80}"
        )
    assert tower.last_work is not None
    return list(answers), tower.last_work


def _agreement(right: list[Any], answers: list[Any]) -> float:
    if len(right) != len(answers):
        raise ValueError(
            f"readout: {len(right)} answers with tolerance 0, {len(answers)} with another"
        )
    return sum(a == b for a, b in zip(right, answers, strict=True)) / len(right)


class _Pointing:
    """The default read-out: the random direction to which each token's features point most."""

    def __call__(self, output: Any) -> Tensor:
        states = output if isinstance(output, Tensor) else output.last_hidden_state
        states = states.flatten(0, -2).double()  # [T * M, D]
        random = torch.Generator().manual_seed(0)
        shape = (states.shape[1], _PROBES)
        probes = torch.randn(shape, generator=random, dtype=torch.float64, device="cpu")
        return ((states - states.mean(0)) @ probes.to(states.device)).argmax(1)
