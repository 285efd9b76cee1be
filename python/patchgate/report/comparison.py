"""Compares patchgate with the adjacent-frame gate over the whole video, frame by frame.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels.
"""

from array import array
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from torch import Tensor

from patchgate.colour import yuv_to_rgb
from patchgate.gate import Gate
from patchgate.pipeline.features import PixelFeatures
from patchgate.report.adjacent import AdjacentGate, AdjacentResult
from patchgate.report.history import Choice, OnChunk
from patchgate.report.survey import (
    Moment,
    Played,
    Spot,
    moment_of,
    played,
    sub_block_errors,
    worst_spot,
)

Shot = TypeVar("Shot")


class Compared(NamedTuple):
    """A moment, and the picture that the receiver of the adjacent-frame gate shows then."""

    moment: Moment
    adjacent: Tensor  # [3, H, W] uint8 RGB
    adjacent_worst: Spot


@dataclass(frozen=True)
class Comparison(Generic[Shot]):
    """The errors of both gates: mean differences of frames' worst sub-blocks, in grey levels."""

    shots: list[Shot]  # of the chosen frames and the one where the adjacent gate is most wrong
    error: np.ndarray  # [T]
    adjacent_error: np.ndarray  # [T]
    adjacent_tokens: int


def compare(
    path: str | PathLike[str],
    gate: Gate,
    choices: list[Choice],
    develop: Callable[[Compared], Shot],
    on_chunk: OnChunk | None = None,
    features: PixelFeatures | None = None,
    **open_options: Any,
) -> Comparison[Shot]:
    """Plays the video through both gates.

    Args:
        choices: frames to look at, ascending.
        develop: what is made of a chosen moment, at once, so that no pictures pile up.
        features: brings frames to the gate's grid; None: as the gate's ``fit`` says.
        open_options: of ``open_video``.
    """
    ours, theirs, tokens = array("d"), array("d"), 0
    wanted = {choice.frame: choice for choice in choices}
    shots: dict[int, Shot] = {}
    drift: Compared | None = None  # where the adjacent gate is most wrong so far
    adjacent = AdjacentGate(gate)
    with closing(played(path, gate, on_chunk, features, **open_options)) as parts:
        for part in parts:
            result = adjacent.push(part.originals)
            tokens += int(result.emitted.sum())
            ours.extend(_errors(part.originals, part.rebuilt, gate))
            errors = _errors(part.originals, result.pictures, gate)
            theirs.extend(errors)
            worst = part.first + int(np.argmax(errors))
            if drift is None or max(errors) > drift.adjacent_worst.error:
                drift = _compared(part, result, Choice(worst, "most drift"), gate)
            for frame in range(part.first, part.first + len(part.rebuilt)):
                if frame in wanted:
                    shots[frame] = develop(_compared(part, result, wanted[frame], gate))
    if drift is not None and drift.adjacent_worst.error > drift.moment.limit:
        frame = drift.moment.frame
        label = f"{wanted[frame].label}, " if frame in wanted and wanted[frame].label else ""
        moment = drift.moment._replace(label=f"{label}most drift")
        shots[frame] = develop(drift._replace(moment=moment))
    in_order = [shots[frame] for frame in sorted(shots)]
    return Comparison(in_order, np.array(ours), np.array(theirs), tokens)


def _errors(originals: Tensor, pictures: Tensor, gate: Gate) -> list[float]:
    """The worst error of every frame (or tubelet) ``[T, f, C, H, W]``."""
    worst = sub_block_errors(originals, pictures, gate).flatten(1).amax(1)
    return (worst.double() / gate.settings.sub_block**2).tolist()


def _compared(part: Played, result: AdjacentResult, choice: Choice, gate: Gate) -> Compared:
    at = choice.frame - part.first
    original, picture = part.originals[at, 0], result.pictures[at, 0]  # [C, H, W]
    return Compared(
        moment_of(part, choice, gate),
        yuv_to_rgb(picture, part.matrix),
        worst_spot(original, picture, gate),
    )
