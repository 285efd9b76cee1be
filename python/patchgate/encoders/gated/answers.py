"""Reads a tower's output with the user's own function, and compares what it says.

Letters: T frames, M tokens of a frame, D features.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchgate.encoders.gated.search import Rules, Trial
from patchgate.encoders.gated.tower import GatedTower
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.work import Work

Readout = Callable[[Any], Any]

_PROBES = 32  # directions of the default read-out


class Trying:
    """Tries settings on all clips, whose right answers it knows."""

    def __init__(self, tower: GatedTower, clips: list[dict[str, Any]], readout: Readout) -> None:
        self._tower, self._clips, self._readout = tower, clips, readout
        self._own = tower.gate_settings, tower.fidelity
        self._right = self._dense()

    def set(self, rules: Rules) -> None:
        """Gives the tower these settings, and leaves all others as they were."""
        gate, fidelity = self._own
        self._tower.gate_settings = replace(
            gate, threshold=rules.threshold, sub_blocks=rules.sub_blocks
        )
        self._tower.fidelity = replace(fidelity, tolerance=rules.tolerance)

    def __call__(self, rules: Rules) -> Trial:
        self.set(rules)
        shares, works = [], []
        for clip, right in zip(self._clips, self._right, strict=True):
            answers = answers_of(self._readout, self._tower(**clip))
            shares.append(agreement(right, answers, rules))
            works.append(self._tower.last_work)
        work = Work.total(each for each in works if each is not None)
        share = work.gated_flops / work.dense_flops
        return Trial(rules.tolerance, min(shares), share, rules.threshold, rules.sub_blocks)

    def _dense(self) -> list[list[Any]]:
        """Returns the answers of the dense tower: every cell is computed from its own pixels."""
        gate, _ = self._own
        self._tower.gate_settings = replace(
            gate,
            threshold=0,
            on_motion="encode",
            chroma=True,
            hysteresis=None,
            noise=None,
            illumination=None,
        )
        self._tower.fidelity = Fidelity(tolerance=0)
        right = []
        for clip in self._clips:
            output = self._tower(**clip)
            answers, again = (answers_of(self._readout, output) for _ in range(2))
            if answers != again:
                raise ValueError(
                    "readout: expected the same answers for the same features, got others the "
                    "second time; it is not deterministic"
                )
            right.append(answers)
        return right


def answers_of(readout: Readout, output: Any) -> list[Any]:
    """Reads a tower's output, and checks what comes.

    Raises:
        TypeError: it is no list, tuple or tensor of answers.
        ValueError: an answer is NaN.
    """
    answers = _plain(readout(output))
    if not isinstance(answers, list | tuple) or not len(answers):
        raise TypeError(
            f"readout: expected a list, a tuple or a tensor of answers, got {answers!r:.80}"
        )
    for number, answer in enumerate(answers):
        if _has_nan(answer):
            raise ValueError(
                f"readout: expected answers that can be compared, got NaN in number {number} of "
                f"{len(answers)}; NaN equals nothing, not even itself"
            )
    return list(answers)


def agreement(right: Sequence[Any], answers: Sequence[Any], rules: Rules) -> float:
    """Returns the share of answers that are right.

    Raises:
        ValueError: there are more or fewer of them.
    """
    if len(right) != len(answers):
        raise ValueError(
            f"readout: expected the same number of answers for the same clip; got {len(right)} "
            f"from the dense tower's features and {len(answers)} from those of {rules}"
        )
    return sum(a == b for a, b in zip(right, answers, strict=True)) / len(right)


def _plain(answers: Any) -> Any:
    """Turns tensors and arrays, at any depth of lists and tuples, into lists of numbers."""
    if isinstance(answers, Tensor | np.ndarray | np.generic):
        return answers.tolist()
    if type(answers) in (list, tuple):
        return type(answers)(map(_plain, answers))
    return answers


def _has_nan(answer: Any) -> bool:
    if isinstance(answer, list | tuple):
        return any(map(_has_nan, answer))
    return isinstance(answer, float) and math.isnan(answer)


class Pointing:
    """The default read-out: the random direction to which each token's features point most."""

    def __call__(self, output: Any) -> Tensor:
        states = output if isinstance(output, Tensor) else output.last_hidden_state
        states = states.flatten(0, -2).double()  # [T * M, D]
        if not bool(states.isfinite().all()):
            raise ValueError("tower: expected finite features, got NaN or infinity")
        random = torch.Generator().manual_seed(0)
        shape = (states.shape[1], _PROBES)
        probes = torch.randn(shape, generator=random, dtype=torch.float64, device="cpu")
        return ((states - states.mean(0)) @ probes.to(states.device)).argmax(1)
