"""All settings side by side, and what is measured of each.

Letters: T frames (or tubelets), N cells.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from patchgate.decode import FrameBatch
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import Gate
from patchgate.pipeline.features import Features as AnyFeatures
from patchgate.report.advice.found import Advice, Option
from patchgate.report.advice.scales import LAG, Change, OfFeatures, OfPixels, Scale
from patchgate.report.advice.tried import Tried
from patchgate.report.advice.ways import (
    Features,
    Part,
    Pixels,
    Sampled,
    Way,
    Whole,
    grid_of,
    whole_features,
)
from patchgate.report.survey import largest_limit


@dataclass
class _Run:
    """One of the settings, and what was measured of it so far."""

    tried: Tried
    way: Way
    errors: list[Tensor] = field(default_factory=list)  # [T, N] each
    worst: float = 0.0


class Runs:
    """All settings side by side."""

    def __init__(self, wanted: list[Tried], base: Gate, tower: GatedTower | None) -> None:
        self._base, self._tower = base, tower
        self._scale: Scale = OfPixels(base) if tower is None else OfFeatures()
        self._change = Change(self._scale)
        self._runs = [_Run(each, self._way(each)) for each in wanted]
        self._times: list[tuple[float, float]] = []  # first and last moment of each batch
        self._frames = 0

    def _way(self, wanted: Tried) -> Way:
        h, w = grid_of(self._base)
        way: Way = Whole(h * w)
        if wanted.gate is not None:
            own = Gate.of(wanted.gate).fresh(size=self._base.size)
            way = Pixels(own)
            if self._tower is not None:
                assert wanted.fidelity is not None
                way = Features(own, self._tower, wanted.fidelity)
        return way if wanted.every == 1 else Sampled(wanted.every, way)

    def push(self, batch: FrameBatch, features: AnyFeatures) -> None:
        """Takes the next frames, in whole tubelets."""
        f = self._base.settings.temporal_patch
        planes = features.to_grid(batch)
        if self._tower is None:
            whole = planes.unflatten(0, (-1, f))
        else:
            whole = whole_features(self._tower, self._base, batch, planes)
        now = Part(batch, planes, whole)
        self._change.push(whole)
        for run in self._runs:
            shown = run.way.push(now)
            run.errors.append(self._scale.error(shown, whole))
            run.worst = max(run.worst, self._worst(run, shown, whole))
        self._frames += len(whole)
        last = float(batch.pts_seconds[-1] + batch.duration_seconds[-1])
        self._times.append((float(batch.pts_seconds[0]), last))

    def _worst(self, run: _Run, shown: Tensor, whole: Tensor) -> float:
        """The worst sub-block, of the size that these settings compare."""
        if self._tower is not None or run.tried.gate is None:
            return self._scale.worst(shown, whole)
        return OfPixels(Gate.of(run.tried.gate)).worst(shown, whole)

    def advice(self, target: float, fewest: int) -> Advice:
        """Returns what was found.

        Args:
            target: the score to be met.
            fewest: the number of frames (tubelets) that are needed.
        """
        if self._frames < fewest:
            raise ValueError(
                f"video: expected at least {fewest} frames (or tubelets) in the part that is "
                f"played, got {self._frames}: give more seconds, an earlier start or a higher fps"
            )
        seconds = self._times[-1][1] - self._times[0][0]
        most = self._change.most()
        tower = None if self._tower is None else type(self._tower.tower).__name__
        return Advice(
            tuple(self._option(run, most, seconds) for run in self._runs),
            target,
            self._frames,
            seconds,
            grid_of(self._base),
            self._base.settings.temporal_patch,
            tower,
        )

    def _option(self, run: _Run, most: Tensor, seconds: float) -> Option:
        h, w = grid_of(self._base)
        errors = torch.cat(run.errors)  # [T, N]
        worst = limit = None
        if self._tower is None:
            worst = run.worst
            if run.tried.gate is not None and run.tried.every == 1:
                limit = largest_limit(Gate.of(run.tried.gate))
        return Option(
            run.tried.given,
            run.way.tokens,
            run.way.tokens / (self._frames * h * w),
            run.way.tokens / seconds,
            run.way.work / self._frames,
            float(errors.double().mean()),
            float(errors[LAG:].flatten()[most].double().mean()),
            worst,
            limit,
        )
