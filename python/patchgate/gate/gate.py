"""The motion gate decides which cells of every frame are new (docs/gate.md has the proof).

Letters: S streams, T frames (or tubelets), C planes, H W pixels, h w cells, N = h * w.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Literal, Self, Unpack, cast

import torch
from torch import Tensor

from patchgate import grid
from patchgate._signature import spelled
from patchgate.decode import FrameBatch
from patchgate.gate.calls import Calls, Undo
from patchgate.gate.inputs import checked_map, checked_planes, checked_streams
from patchgate.gate.longterm.pictures import forget
from patchgate.gate.longterm.streams import Returned
from patchgate.gate.longterm.turns import Turn
from patchgate.gate.memory import GateMemory
from patchgate.gate.now import Now, memory_ids, now_of, parts_of
from patchgate.gate.pushing import push_tubelets
from patchgate.gate.run import GateResult, Push, captures, each
from patchgate.gate.settings import GateKwargs, GateSettings, OnMotion


class Gate:
    """Finds the cells of every frame that the tokens so far do not explain.

    The gate keeps a reference picture of each stream: what the emitted tokens say the video looks
    like now. A cell that equals it is static. A cell that equals another place of it has moved. All
    other cells have changed. From the changed cells and the vectors alone, every sub-block of every
    frame can be rebuilt to within ``limit``, however long the video is. ``None`` switches a rule
    off.

    Args:
        threshold: the mean absolute difference over a sub-block that still counts as equal, in grey
            levels of 255; 0 is exact.
        search_radius: the reach of the block motion search in pixels, at most
            127 / motion_precision.
        on_motion: the kind of a cell that equals another place. ``"encode"``: changed.
            ``"camera"``: moved if it moves with the dominant motion, else changed. ``"reuse"``:
            moved.
        scene_cut: a frame is encoded whole if more than this share of its cells is neither static
            nor moved.
        max_age: the number of frames after which a cell is encoded again.
        patch: the encoder's patch side in pixels.
        merge: the encoder's merge side in patches. A cell is ``patch * merge`` pixels square.
        temporal_patch: the number of frames that one cell spans, 1 or 2.
        sub_blocks: the number of parts of a patch side that are compared on their own. It divides
            ``patch``.
        chroma: compare Cb and Cr too, if the input has them.
        hysteresis: a factor on the limit of cells that lie beside a changed one.
        noise: with ``"adaptive"``, the limit follows the noise, up to twice ``threshold``.
        size: ``(H, W)`` of the grid in pixels; a ``FrameBatch`` can be pushed only with a size.
        fit: how a ``FrameBatch`` is resized to ``size``: ``"stretch"``, ``"crop"`` or ``"pad"``.
        motion_precision: 1, 2 or 4: vectors are whole, half or quarter pixels. Finer ones follow
            pans, scrolling and zooms, which seldom move by whole pixels, and take longer to find.
        memory: the number of earlier reference pictures that are remembered of each stream. Cells
            that equal one of them return: they need no new token. A push then synchronises.
        illumination: with ``"global"``, the reference follows the light of the frames: fades cost
            few tokens. A token then stands for 0.7 to 1.43 times the contrast it was encoded in.

    Source: docs/gate.md; the idea is Gated Residual Tokenization (arXiv 2509.14199).
    """

    def __init__(
        self,
        threshold: float = 4,
        search_radius: int | None = 8,
        on_motion: OnMotion = "camera",
        scene_cut: float | None = 0.8,
        max_age: int | None = None,
        patch: int = 14,
        merge: int = 1,
        temporal_patch: int = 1,
        sub_blocks: int = 2,
        chroma: bool = True,
        hysteresis: float | None = None,
        noise: Literal["adaptive"] | None = None,
        size: int | tuple[int, int] | None = None,
        fit: grid.Fit = "stretch",
        motion_precision: Literal[1, 2, 4] = 1,
        memory: int | None = None,
        illumination: Literal["global"] | None = None,
    ) -> None:
        settings = {name: value for name, value in locals().items() if name != "self"}
        self.settings = GateSettings(**settings)
        self._calls = Calls("Gate")
        self._now = Now()

    @property
    def size(self) -> tuple[int, int] | None:
        """``(H, W)`` of the grid in pixels, if it was given."""
        return cast("tuple[int, int] | None", self.settings.size)

    @property
    def picture_ids(self) -> Tensor | None:
        """The token that each pixel of the reference picture came from, ``[S, H, W]`` int32.

        Later frames can name only these tokens and the sources of the last frame. The tensor is the
        gate's own memory: do not write to it. It is None before the first push.
        """
        self._calls.settle()
        return None if self._now.memory is None else self._now.memory.state.ids

    @property
    def memory_ids(self) -> Tensor | None:
        """The tokens of the cells of remembered pictures, ``[S, M, h, w]`` int64; -1: none.

        With ``memory``, later frames can name these beside ``picture_ids``. It is None without
        memory, and before the first push.
        """
        self._calls.settle()
        return memory_ids(self._now)

    @property
    def turns(self) -> tuple[tuple[Turn, ...], ...]:
        """The turns of each stream in the last push: see docs/gate.md; empty without ``memory``."""
        self._calls.settle()
        return self._now.turns

    @classmethod
    def of(cls, settings: GateSettings) -> Self:
        """Makes a gate with these settings."""
        return cls(**asdict(settings))

    @spelled(GateKwargs)
    def fresh(self, **changes: Unpack[GateKwargs]) -> Self:
        """Makes a gate with the same settings, but for ``changes``, and no state."""
        return type(self)(**{**asdict(self.settings), **changes})

    def __repr__(self) -> str:
        return f"Gate({', '.join(f'{k}={v!r}' for k, v in asdict(self.settings).items())})"

    def push(self, planes: Tensor | FrameBatch, threshold_map: Tensor | None = None) -> GateResult:
        """Compares the next frames of the stream(s) with the reference pictures.

        A push synchronises only to check a ``threshold_map``, and if token ids may run out (see
        docs/gate.md).

        Args:
            planes: uint8 ``[T, C, H, W]`` or ``[S, T, C, H, W]`` on the grid: C = 1 (luma) or 3
                (Y, Cb, Cr, full range), H and W multiples of the cell. Or a ``FrameBatch``, which
                is resized to ``size``.
            threshold_map: ``[h, w]``, a factor on the limit of each cell for this push. With 0 a
                cell must be exactly equal; with ``inf`` it changes only with a key frame or
                ``max_age``.

        Returns:
            A ``GateResult``. With ``temporal_patch=2``, an odd frame waits for its partner; the map
            of the push that brings the partner holds for both.

        Raises:
            TypeError, ValueError: the input does not fit.
            TokenIdsUsedUp: a ``ValueError``: a stream may need more than 2^31 - 2 token ids since
                its reset. Reset it and push again; its next frame is then encoded whole.
            RuntimeError: another thread is in a call of this gate.

        A push that fails in any way, out of memory and interrupts included, leaves the gate as it
        was: the same frames may be pushed again.
        """
        return self._calls.run(self._mark, lambda: self._pushed(planes, threshold_map))

    def flush(self) -> GateResult:
        """Gates a frame that waits for its partner, as if it came twice.

        If no frame waits, the result has T = 0.

        Raises:
            ValueError: nothing was pushed since the last reset.
        """
        return self._calls.run(self._mark, self._flushed)

    def reset(self, streams: Iterable[int] | Tensor | None = None) -> None:
        """Forgets all streams, or only those with the given numbers or in a bool mask ``[S]``."""
        self._calls.run(self._mark, lambda: self._reset(streams))

    def set_threshold(self, threshold: float) -> None:
        """Changes ``threshold`` from the next push on, and keeps the state.

        Raises:
            TypeError, ValueError: it is out of range; the gate is left as it was.
        """
        new = replace(self.settings, threshold=threshold)
        self._calls.run(lambda: partial(self._set, self.settings), lambda: self._set(new))

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the gate's state as tensors by name; empty before the first push.

        Most are not copies: do not write to them. ``load_state_dict`` checks its argument.
        """
        return self._calls.run(lambda: lambda: None, self._parts)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copies the state of another gate with the same settings. Synchronises.

        Raises:
            ValueError: it is no result of ``state_dict``, its numbers contradict each other, or it
                is of a gate of another cell, ``temporal_patch``, ``max_age`` or ``illumination``.
        """
        if not isinstance(state, Mapping):
            raise ValueError(f"state: expected what state_dict returns, got {type(state).__name__}")
        now = now_of(dict(state), self.settings)  # a copy: what is checked is also what is loaded
        self._calls.run(self._mark, lambda: setattr(self, "_now", now))

    # The work of calls. ``_calls`` undoes it if a call fails.

    def _mark(self) -> Undo:
        now = self._now
        if now.memory is None or captures(now.memory):  # replaying a graph copies nothing to undo
            return partial(setattr, self, "_now", now)
        now.memory.before.keep()
        return partial(self._back, now)

    def _back(self, now: Now) -> None:
        assert now.memory is not None
        now.memory.before.back()
        self._now = now

    def _set(self, settings: GateSettings) -> None:
        if self._now.memory is not None:
            self._now.memory.follow(settings)
        self.settings = settings

    def _parts(self) -> dict[str, Tensor]:
        return parts_of(self._now)

    def _pushed(self, planes: Tensor | FrameBatch, threshold_map: Tensor | None) -> GateResult:
        push = self._begun(planes, threshold_map)
        return self._ended(push, self._run(push))

    def _begun(self, planes: Tensor | FrameBatch, threshold_map: Tensor | None) -> Push:
        """Checks a push, and changes nothing."""
        if isinstance(planes, FrameBatch):
            if self.size is None:
                raise ValueError(
                    "a FrameBatch must be resized to a grid: make the gate with size=(H, W)"
                )
            planes = grid.to_grid(planes, self.size, self.settings.fit)
        now = self._now
        seen = None if now.memory is None else now.memory.state.picture
        frames = checked_planes(planes, self.settings, seen)  # [S, T, C, H, W]
        factors = checked_map(threshold_map, self.settings, frames)  # [h, w]
        if now.pending is not None:
            frames = torch.cat([now.pending, frames], 1)
        pending = None
        if odd := frames.shape[1] % self.settings.temporal_patch:
            frames, pending = frames[:, :-odd], frames[:, -odd:].clone()
        return Push(*self._whole(frames), factors, pending, planes.dim() == 5)

    def _run(self, push: Push) -> Returned:
        """Gates what was begun, and changes the memory."""
        given = push.memory, self._now.remembered, push.factors, self.settings
        return push_tubelets(push.tubelets, *given)

    def _ended(self, push: Push, came: Returned) -> GateResult:
        """Takes the state that a push leaves."""
        result, remembered, turns = came
        self._now = Now(push.memory, push.pending, push.factors, push.streamed, remembered, turns)
        return result if push.streamed else each(result, lambda tensor: tensor[0])

    def _flushed(self) -> GateResult:
        now = self._now
        if now.memory is None:
            raise ValueError("flush: nothing was pushed since the gate was made or reset")
        s, _, c, height, width = now.memory.state.picture.shape
        pending = now.pending
        if pending is None:
            pending = now.memory.state.picture.new_empty((s, 0, c, height, width))
        whole = self._whole(torch.cat([pending, pending], 1))
        push = Push(*whole, now.pending_map, None, now.streamed)
        return self._ended(push, self._run(push))

    def _reset(self, streams: Iterable[int] | Tensor | None) -> None:
        if streams is None:
            self._now = Now()
            return
        if self._now.memory is None:
            raise ValueError("reset(streams=...): nothing was pushed yet, so there are no streams")
        if self._now.pending is not None:
            raise ValueError("reset(streams=...): a frame waits for its partner; flush() it first")
        clock = self._now.memory.clock
        index = checked_streams(streams, len(clock))
        clock[index] = 0  # frame 0 again: the rest of the state is not read any more
        self._now = self._now._replace(remembered=forget(self._now.remembered, index))

    def _whole(self, frames: Tensor) -> tuple[Tensor, GateMemory]:
        """Returns frames ``[S, T * f, C, H, W]`` as tubelets, and the memory that they change."""
        s, t, c, height, width = frames.shape
        f, memory = self.settings.temporal_patch, self._now.memory
        if memory is None:
            memory = GateMemory((s, f, c, height, width), self.settings, frames.device)
        return frames.reshape(s, t // f, f, c, height, width), memory
