"""One of the cameras that are watched: its source, its tokenizer, its budget and its numbers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import cast

from torch import Tensor

from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import CHANGED, Gate, GateSettings
from patchgate.grid import Placement, fitted
from patchgate.pipeline import Tokenizer
from patchgate.tokens import TokenChunk, TokenLayout, layout_of

from .batch import LiveBatch
from .budget import Budget
from .changes import Box, boxes_of
from .live import Live
from .meter import LiveStats, quantile

_REMEMBERED = 1024  # delays
_STEPS = 64  # steps of the threshold


@dataclass(frozen=True)
class CameraStats:
    """The numbers of a camera that is watched. Times are in seconds.

    Attributes:
        live: those of its source.
        frames: the number of frames (or tubelets) of which tokens were made.
        tokens: the number of tokens.
        kept: kept cells over all cells.
        threshold: the gate's, of the next frame, in grey levels.
        steps: the last changes of the threshold, as pairs of the time (``time.monotonic()``) and
            the new one.
        delay_p50, delay_p99: from the arrival of a frame until its tokens were there, of the last
            1024 frames; None before the first.
        failures: the number of frames whose tokens could not be made.
    """

    live: LiveStats
    frames: int
    tokens: int
    kept: float
    threshold: float
    steps: tuple[tuple[float, float], ...]
    delay_p50: float | None
    delay_p99: float | None
    failures: int


@dataclass(frozen=True)
class Seen:
    """The tokens of a camera's next frame.

    Attributes:
        camera: its name.
        chunk: the tokens. They are numbered from the camera's first frame, or since ``restart``.
        frames: the frame that brought them.
        restart: whether tokens and frames are numbered from 0 again, because the grid has another
            size than before, a new segment begins, or no numbers were left.
        threshold: of this frame, in grey levels.
        limit: the same as ``GateResult.limit`` has it (before ``noise="adaptive"`` raises it): the
            largest cost of a sub-block that passes.
        ready: when the tokens were there, in seconds of ``time.monotonic()``.
        layout: how pixels lie in tokens that are pixels; None: they are a tower's.
    """

    camera: str
    chunk: TokenChunk
    frames: LiveBatch
    restart: bool
    threshold: float
    limit: int
    ready: float
    layout: TokenLayout | None
    _place: tuple[Placement, Placement]

    @property
    def delay(self) -> float:
        """From the arrival of the frame until its tokens were there, in seconds."""
        assert self.frames.arrived is not None
        return self.ready - float(self.frames.arrived[-1])

    @property
    def scene_cut(self) -> bool:
        """Whether every cell of the last frame is new, and it is not the first."""
        if self.chunk.frame.shape[0] < self.chunk.kind[0].numel():  # as of almost all frames
            return False
        first = self.restart or int(self.chunk.source[-1].min()) == 0
        return not first and bool((self.chunk.kind[-1] == CHANGED).all())

    def boxes(self) -> list[Box]:
        """Returns rectangles around the cells that changed in the last frame, in its pixels."""
        kind: Tensor = self.chunk.kind[-1]
        return boxes_of(kind, self._place, (self.frames.height, self.frames.width))


class Camera:
    """A camera that is watched.

    Args:
        name: the user's name of it.
        live: its source.
        tokenizer: makes its tokens. Nobody else may use it.
        tower: the tokenizer's tower, or None.
        rules: the settings of the tokenizer's gate, with a size if there is no tower.
        budget: its budget of time.
        read_timeout: silence after which it is told to stall, if its source cannot know; None:
            never.
    """

    def __init__(self, name: str, live: Live, tokenizer: Tokenizer, tower: GatedTower | None,
                 rules: GateSettings, budget: Budget,
                 read_timeout: float | None) -> None:  # fmt: skip
        self.name, self.live, self.tokenizer, self.budget = name, live, tokenizer, budget
        self.read_timeout = read_timeout
        self.listening = False  # it wakes the watch when it has something new
        self.stalled = False  # and that was told
        self.failed = False
        self._tower, self._rules = tower, rules
        self._grid: tuple[int, int] | None = None  # (H, W) in pixels
        self._placed: tuple[tuple[int, int], tuple[Placement, Placement]] | None = None
        self._delays: deque[float] = deque(maxlen=_REMEMBERED)
        self._steps: deque[tuple[float, float]] = deque(maxlen=_STEPS)
        self._frames = self._tokens = self._kept = self._cells = self.failures = 0

    def place(self, frames: LiveBatch) -> tuple[Placement, Placement]:
        """Returns where a frame lies on the grid."""
        picture = frames.height, frames.width
        if self._placed is None or self._placed[0] != picture:
            self._placed = picture, self._place(picture)
        return self._placed[1]

    def _place(self, picture: tuple[int, int]) -> tuple[Placement, Placement]:
        if self._tower is not None:
            return self._tower.pixel_spec.place(*picture)
        return fitted(picture, cast("tuple[int, int]", self._rules.size), self._rules.fit)

    def prepare(self, frames: LiveBatch, due: bool) -> bool:
        """Readies the tokenizer for a frame; returns whether it begins anew: ``due`` says so."""
        down, across = self.place(frames)
        grid = down.size, across.size
        restart = self._grid is not None and (due or grid != self._grid)
        if restart:
            self.tokenizer.reset()
        self._grid = grid
        if restart:
            self._follow()
        return restart

    def done(
        self, frames: LiveBatch, chunk: TokenChunk, restart: bool, ready: float
    ) -> Seen | None:
        """Notes the tokens of a frame; returns them, None if it waits for its partner."""
        gate, threshold = self.tokenizer.gate, self.budget.now
        seen = None
        if len(chunk.kind):
            assert gate is not None
            seen = Seen(self.name, chunk, frames, restart, gate.settings.threshold,
                        gate.settings.limit, ready, self._layout(gate, frames),
                        self.place(frames))  # fmt: skip
            self._frames += len(chunk.kind)
            if tokens := len(chunk.frame):  # each kept cell is one
                self._tokens += tokens
                self._kept += int((chunk.kind == CHANGED).sum())
            self._cells += chunk.kind.numel()
            self._delays.append(seen.delay)
            if self.budget.saw(seen.delay):
                self._steps.append((ready, self.budget.now))
        if gate is not None and (self.budget.now != threshold or restart):
            self._follow()
        return seen

    def _layout(self, gate: Gate, frames: LiveBatch) -> TokenLayout | None:
        return None if self._tower is not None else layout_of(gate, frames.colour.matrix)

    def _follow(self) -> None:
        """Gives the gate the threshold of the budget."""
        gate = self.tokenizer.gate
        if gate is not None and gate.settings.threshold != self.budget.now:
            gate.set_threshold(self.budget.now)

    def stats(self) -> CameraStats:
        """Returns the numbers of this moment."""
        delays = sorted(self._delays)
        return CameraStats(
            live=self.live.stats,
            frames=self._frames,
            tokens=self._tokens,
            kept=self._kept / max(1, self._cells),
            threshold=self.budget.now,
            steps=tuple(self._steps),
            delay_p50=quantile(delays, 0.5),
            delay_p99=quantile(delays, 0.99),
            failures=self.failures,
        )
