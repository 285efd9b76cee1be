"""``advise``: plays some seconds of a video through a handful of settings.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, N cells.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Unpack, cast

import torch
from torch import nn

from patchgate._check import checked_number
from patchgate._signature import spelled
from patchgate.decode import FrameBatch, Video, open_video
from patchgate.encoders.gated import gated
from patchgate.encoders.gated.clips import GatedClips
from patchgate.encoders.gated.fixed import FixedTower
from patchgate.encoders.gated.tower import GatedTower, TowerStream
from patchgate.gate import Gate, GateSettings
from patchgate.gate.settings import GEOMETRY
from patchgate.pipeline.fitting import fitting_gate, prepared
from patchgate.pipeline.options import TokenizeKwargs, parted
from patchgate.pipeline.tubelets import part, whole_tubelets
from patchgate.report.advice.found import Advice
from patchgate.report.advice.playing import Runs
from patchgate.report.advice.tried import tried

_FEWEST = 12  # frames: more than the longest step of the usual samplings, and than LAG


@spelled(GateSettings, open_video, leave_out=GEOMETRY)
def advise(
    video: Any,
    tower: nn.Module | None = None,
    target: float = 0.99,
    seconds: float = 5.0,
    start: float | None = None,
    *,
    processor: Any = None,
    mean: Any = None,
    std: Any = None,
    settings: Sequence[Mapping[str, Any]] | None = None,
    gate: Gate | None = None,
    size: int | tuple[int, int] | None = None,
    fps: float | None = None,
    end: float | None = None,
    **options: Unpack[TokenizeKwargs],
) -> Advice:
    """Says which settings fit a video, and what sampling its frames does beside them.

    Some seconds of the video are decoded once. Every frame goes through each of the settings: the
    gate at several thresholds, every k-th frame taken whole and held until the next one, and both
    together. What each of them shows is compared with what every frame, taken whole, would show.

    Without a tower, the pictures are compared: an error is the mean difference of pixels, divided
    by 255. This stands in for a tower's features, and says nothing of how much a tower makes of a
    difference. Work is the share of tokens, as in a tower's linear layers. With a tower, an error
    is 1 - cosine to the features of the dense tower, and work is the operations that the tower
    counts (``last_work``), divided by those of the dense one. A score is 1 - the larger one of two
    errors: the mean over all cells, and the mean over the tenth of the cells that changed most in
    five frames. The advice is the cheapest of the settings whose score meets the target.

    Args:
        video: a path, a file object or bytes.
        tower: a tower made by ``gated``, or a model that ``gated`` takes, with its processor. Its
            weights should be those that you use: random ones say little. None: there is no tower.
        target: the least score, above 0 and at most 1.
        seconds: the length of what is played. With a tower this takes as long as the dense tower
            takes for it, and three to six times that. Memory grows with it by 4 bytes for each
            cell, frame and setting.
        start: the first moment, in seconds on the video's clock; None: its begin.
        processor, mean, std: as in ``gated``, for a model that is not gated yet.
        settings: the settings to try, as dicts of keywords of ``Gate`` and (with a tower) of
            ``gated``, and ``every=k`` to take every k-th frame: ``[{"threshold": 8},
            {"every": 2}, {"every": 2, "threshold": 8}]``. None: a handful of them, and those that
            tower or gate have.
        gate: the settings that all of these change; None: those of the tower, or the defaults with
            the rules that are given here.
        size: ``(H, W)`` of the grid in pixels, as in ``tokenize``.
        fps: the number of frames per second to look at; None: every frame.
        end: seconds on the video's clock at which to stop, if ``seconds`` are not over before.
        options: the gate's rules, such as ``on_motion``, if no gate is given, and options of
            ``open_video``, such as ``chunk`` and ``threads``.

    Returns:
        An ``Advice``: ``print`` it, or read ``best.settings`` and ``options``. The call
        synchronises.

    Raises:
        FileNotFoundError, ValueError, TypeError: ``open_video``, ``Gate`` or ``gated`` raises; the
            target, the seconds or the settings are out of range; the part has fewer than 12
            frames; the tower has a capacity, is a stream or takes clips; its features are NaN.
    """
    target, seconds = checked_goal(target, seconds)
    found = _gated(tower, processor, mean, std)
    rules, opening = parted("advise", options, gate)
    base = fitting_gate(found, gate, size, rules)
    wanted = tried(settings, base.settings, None if found is None else found.fidelity)
    with open_video(video, fps=fps, start=start, end=end, **opening) as opened, torch.no_grad():
        base, features = prepared(opened, found, base)
        runs = Runs(wanted, base, found)
        for batch in _played(opened, seconds, base.settings.temporal_patch):
            runs.push(batch, features)
    return runs.advice(target, _FEWEST)


def checked_goal(target: Any, seconds: Any) -> tuple[float, float]:
    """Checks a score to be met, and the length of what is played in seconds."""
    target = checked_number("target", target, 0, 1, "of the score")
    seconds = checked_number("seconds", seconds, 0, 1e9, "seconds")
    for name, value in (("target", target), ("seconds", seconds)):
        if not value:
            raise ValueError(f"{name}: expected more than 0, got 0")
    return target, seconds


def _gated(tower: Any, processor: Any, mean: Any, std: Any) -> GatedTower | None:
    if tower is None or isinstance(tower, GatedTower | FixedTower | GatedClips):
        if any(each is not None for each in (processor, mean, std)):
            came = "no tower" if tower is None else "a tower that is gated already"
            raise ValueError(f"processor, mean, std: they are for a model to be gated, got {came}")
    else:
        tower = gated(tower, processor, mean=mean, std=std)
    if isinstance(tower, GatedClips):
        raise TypeError("tower: expected one that takes frames, got one that takes clips")
    if isinstance(tower, FixedTower):
        raise TypeError("tower: expected one without capacity, which computes what it must")
    if isinstance(tower, TowerStream):
        raise TypeError("tower: expected the gated tower itself, got a stream, which has a state")
    return cast("GatedTower | None", tower)


def _played(video: Video, seconds: float, tubelet: int) -> Iterator[FrameBatch]:
    """Yields the first seconds of a video, in whole tubelets."""
    begin: float | None = None
    for batch in whole_tubelets(iter(video), tubelet):
        begin = float(batch.pts_seconds[0]) if begin is None else begin
        inside = int((batch.pts_seconds < begin + seconds).sum())
        if whole := inside // tubelet * tubelet:
            yield part(batch, 0, whole)
        if inside < len(batch):
            return
