"""Looks at a video several times, and tokenizes no frame twice.

Letters: T frames (or tubelets), f frames of a tubelet.
"""

import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import NamedTuple, Unpack

import torch
from torch import nn

from patchgate._signature import spelled
from patchgate._tensors import whole
from patchgate.decode import DecodeError, DecodeWarning, open_video
from patchgate.decode.opening import ReadKwargs
from patchgate.decode.source.source import VideoSource
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import Gate, GateSettings
from patchgate.gate.settings import GEOMETRY, GateRules
from patchgate.pipeline.collect import collected
from patchgate.pipeline.fitting import fitting_gate, prepared
from patchgate.pipeline.options import parted
from patchgate.policies.frames import Frames
from patchgate.policies.plan import Plan
from patchgate.policies.video.capped_gate import CappedGate
from patchgate.policies.video.container import container_frames, of_access
from patchgate.policies.video.joined import Row, joined
from patchgate.policies.video.wanted import WantedFrames
from patchgate.tokens import VideoTokens, layout_of

TowerOf = Callable[[float], GatedTower]  # scale -> a tower for frames that are smaller by it

Unit = tuple[int, ...]  # numbers of the f frames of a tubelet

# A Looker plans with all frames that the video shows, and decodes them on the CPU.
_NOT_TAKEN = (*GEOMETRY, "device", "start", "end", "fps", "fallback")
_MOST_NAMED = 12  # frames in a message


class LookKwargs(GateRules, ReadKwargs, total=False):
    """The keywords of ``Looker`` beside its own arguments; ``Looker`` documents them."""


class _Known(NamedTuple):
    """A frame (or tubelet) that was tokenized, and the ratio that it was tokenized with."""

    row: Row
    ratio: float


class Looker:
    """Tokenizes the frames of one plan after another, each frame of a video only once.

    Args:
        video: a path or bytes.
        tower: a tower made by ``gated``, or a function from a scale to such a tower if plans have
            several scales. None: tokens are the cells' own samples, at any scale.
        gate: its settings are used; the new frames of each look begin with a fresh state.
        size: ``(H, W)`` of the grid in pixels at scale 1, if neither tower nor gate has one.
        options: the gate's rules, such as ``threshold``, if no gate is given (see ``tokenize``);
            and options of ``open_video``: ``chunk``, ``threads``, ``errors``, ``stream``,
            ``limits``, ``format``, ``allow_playlists``, ``open_timeout``, ``read_timeout``.

    Attributes:
        frames: the frames that the video shows, to plan with.
        decoded: the number of frames that were taken from the decoder so far (see
            ``WantedFrames``).
        missing: numbers of the frames that did not come out of the decoder. A look warns about
            them with a ``DecodeWarning`` and takes them out of ``frames``.

    All tokens stay in memory.

    Raises:
        FileNotFoundError, ValueError, TypeError: in the cases in which ``open_video``, ``Gate`` and
            ``tokenize`` raise them.
    """

    @spelled(GateSettings, open_video, leave_out=_NOT_TAKEN)
    def __init__(
        self,
        video: VideoSource,
        tower: GatedTower | TowerOf | None = None,
        gate: Gate | None = None,
        size: int | tuple[int, int] | None = None,
        **options: Unpack[LookKwargs],
    ) -> None:
        self._rules, open_options = parted("Looker", options, gate, LookKwargs)
        self.frames: Frames = container_frames(video, **of_access(open_options))
        self.decoded = 0
        self.missing: list[int] = []
        self._name = getattr(video, "name", video) if not isinstance(video, bytes) else "the bytes"
        self._video, self._options, self._gate, self._size = video, open_options, gate, size
        self._tower: GatedTower | None = None
        self._tower_of: TowerOf | None = None
        if isinstance(tower, GatedTower):
            self._tower = tower
        elif isinstance(tower, nn.Module):
            raise TypeError(
                "tower: expected one made by patchgate.gated(...) or a function from scale to one, "
                f"got {type(tower).__name__}"
            )
        else:
            self._tower_of = tower
        self._known: dict[tuple[float, Unit], _Known] = {}
        self._gate_at(1.0)  # raises now if tower, gate and size do not fit

    def look(self, plan: Plan) -> VideoTokens:
        """Returns the tokens of the plan's frames; those of earlier looks are not tokenized again.

        New frames go through a gate of their own in order of time. It keeps the first one whole and
        of the others at most the plan's ``ratio`` (``CappedGate``). A frame that an earlier look
        tokenized with a smaller ratio is tokenized again. The call waits for the device.

        Args:
            plan: frames of one scale.

        Returns:
            ``VideoTokens`` of T frames in order of time: the frames of the plan that came out of
            the decoder. Tokens of other frames, to which these refer, come first, with a negative
            ``frame``.

        Raises:
            DecodeError: a frame did not come out of the decoder, and ``errors`` is "raise".
            ValueError: the plan has several scales (look at each of ``plan.parts()``), a frame
                twice, a clip that ends inside a tubelet, a scale that the tower cannot take, or a
                frame that the video does not have.
        """
        scale = _one_scale(plan)
        tower, gate = self._gate_at(scale)
        units, ratios = units_of(plan, gate.settings.temporal_patch)
        new = [
            (unit, ratio)
            for unit, ratio in zip(units, ratios, strict=True)
            if (known := self._known.get((scale, unit))) is None or known.ratio < ratio
        ]
        came = [unit for unit in new if not set(unit[0]) & set(self.missing)]
        while came:
            tokens, lost = self._tokenized(came, tower, gate)
            if not lost:
                for row, (unit, ratio) in enumerate(came):
                    self._known[scale, unit] = _Known(Row(tokens, row), ratio)
                break
            self._lose(lost)  # the others go through a new gate, without the lost ones
            came = [unit for unit in came if not set(unit[0]) & set(lost)]
        self._report(set(plan.index.tolist()) & set(self.missing))
        rows = [self._known[scale, unit].row for unit in units if (scale, unit) in self._known]
        return joined(rows) if rows else self._tokenized([], tower, gate)[0]

    def _lose(self, numbers: list[int]) -> None:
        self.missing = sorted({*self.missing, *numbers})
        gone = torch.isin(self.frames.number, whole(numbers))
        self.frames = self.frames.at(~gone)

    def _report(self, numbers: set[int]) -> None:
        """Warns or raises, as ``errors`` says, about frames of a plan that cannot be decoded."""
        errors = self._options.get("errors", "warn")
        if not numbers or errors == "ignore":
            return
        listed = ", ".join(map(str, sorted(numbers)[:_MOST_NAMED]))
        more = ", ..." if len(numbers) > _MOST_NAMED else ""
        message = (
            f"{self._name}: {len(numbers)} frame(s) of the plan did not come out of the decoder, "
            f"because frames that they depend on are damaged: {listed}{more}"
        )
        if errors == "raise":
            raise DecodeError(message)
        warnings.warn(message, DecodeWarning, stacklevel=3)

    def _gate_at(self, scale: float) -> tuple[GatedTower | None, Gate]:
        """Returns the tower for a scale, and a fresh gate for it."""
        if self._tower_of is not None:
            tower = self._tower_of(scale)
            return tower, fitting_gate(tower, self._gate, None, self._rules)
        gate = fitting_gate(self._tower, self._gate, self._size, self._rules)
        if scale == 1:
            return self._tower, gate
        if self._tower is not None:
            raise ValueError(
                f"plan: scale {scale:g}, but this tower takes frames of one size; give a function "
                "from scale to tower, or a plan of scale 1"
            )
        return None, scaled(gate, scale)

    def _tokenized(
        self, units: list[tuple[Unit, float]], tower: GatedTower | None, gate: Gate
    ) -> tuple[VideoTokens, list[int]]:
        """Tokenizes new frames; returns their tokens, and the numbers of missing frames."""
        numbers = whole([i for unit, _ in units for i in unit])
        source = WantedFrames(self._video, self.frames, numbers.unique(), **self._options)
        with open_video(self._video, **self._options) as opened:
            sized, features = prepared(opened, tower, gate)
            matrix = opened.colour.matrix
        capped = CappedGate([ratio for _, ratio in units], **asdict(sized.settings))
        layout = layout_of(capped, matrix) if tower is None else None
        tokens = collected(source, capped, features, layout)
        if tokens.grid is not None:  # frames of several passes are put together: see ``joined``
            tokens = replace(tokens, grid=replace(tokens.grid, blends=False))
        self.decoded += source.decoded
        return tokens, source.missing


def scaled(gate: Gate, scale: float) -> Gate:
    """Returns a fresh gate for frames that are smaller by ``scale``, in whole cells."""
    assert gate.size is not None
    cell = gate.settings.cell
    height, width = (max(1, round(side / cell / scale)) * cell for side in gate.size)
    return gate.fresh(size=(height, width))


def _one_scale(plan: Plan) -> float:
    scales = plan.scale.unique().tolist()
    if len(scales) > 1:
        raise ValueError(
            f"plan: expected one scale, got {len(scales)}; look at each of plan.parts()"
        )
    return scales[0] if scales else 1.0


def units_of(plan: Plan, f: int) -> tuple[list[Unit], list[float]]:
    """Groups a plan's frames in tubelets of f, and returns the largest ratio of each, too.

    The last frame is repeated until the last tubelet is full.
    """
    index, ratio, clip = plan.index.tolist(), plan.ratio.tolist(), plan.clip.tolist()
    if len(set(index)) < len(index):
        raise ValueError("plan: it has a frame twice; plan | plan has each once")
    starts = range(0, len(index), f)
    if any(len(set(clip[i : i + f])) > 1 for i in starts):
        raise ValueError("plan: a clip ends inside a tubelet; look at each of plan.parts()")
    units = [(*index[i : i + f], *index[-1:] * (i + f - len(index))) for i in starts]
    return units, [max(ratio[i : i + f]) for i in starts]
