"""The motion gate: which cells of every frame are new. docs/gate.md states its rules and guarantee.

Letters: S streams, T frames (or tubelets), C planes, H W pixels, h w cells, N = h * w.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Literal, NamedTuple, Self, cast

import torch
from torch import Tensor

from patchgate import _ops, grid
from patchgate._tensors import truths
from patchgate.decode import FrameBatch
from patchgate.gate_input import check_state, checked_map, checked_planes, checked_streams
from patchgate.gate_settings import CHANGED as CHANGED
from patchgate.gate_settings import MOVED as MOVED
from patchgate.gate_settings import STATIC as STATIC
from patchgate.gate_settings import GateSettings, OnMotion

_QUARTILES = 15  # frames that the adaptive limit looks back


class GateResult(NamedTuple):
    """What the gate says of every cell. ``..`` is ``S,`` when the input had streams, else nothing.

    With ``temporal_patch=2``, T counts tubelets.
    """

    kind: Tensor  # [.., T, h, w] uint8: 0 static, 1 moved, 2 changed
    motion: Tensor  # [.., T, h, w, 2] int8: (dy, dx) from the cell to where it came from, in steps
    # of 1 / motion_precision pixels
    cost: Tensor  # [.., T, h, w] int32: of the vector used; changed: the least tested; first: -1
    source: Tensor  # [.., T, h, w] int64: the token that explains the cell, since the last reset
    is_key: Tensor  # [.., T] bool: every cell of the frame is encoded
    limit: Tensor  # [.., T] int32: what a passing cost may not exceed, before threshold_map

    def __repr__(self) -> str:
        kept = float((self.kind == CHANGED).float().mean()) if self.kind.numel() else 0.0
        return f"GateResult(kind={list(self.kind.shape)}, kept={kept:.1%})"


class _State(NamedTuple):
    """The stream state, in the order in which the op takes it."""

    picture: Tensor  # [S, f, C, H, W] uint8
    ids: Tensor  # [S, H, W] int32
    source: Tensor  # [S, h, w] int64
    clock: Tensor  # [S, 2] int64
    births: Tensor  # [S, max_age or 0] int64
    quartiles: Tensor  # [S, 15] int32


class Gate:
    """Finds the cells of every frame that the tokens so far do not explain: a closed loop.

    Per stream there is a reference picture: what the emitted tokens say the video looks like now.
    A cell that equals it is static, one that equals another place of it has moved, the rest has
    changed. From the changed cells and the vectors alone, every sub-block of every frame can be
    rebuilt within ``limit``, whatever the length. ``None`` switches a rule off.

    Args:
        threshold: mean absolute difference that still counts as equal, in grey levels of 255, over
            a sub-block; 0 is exact.
        search_radius: reach of the block motion search in pixels, at most 127 / motion_precision.
        on_motion: what a moved cell is. ``"encode"``: changed. ``"camera"``: moved if it moves with
            the dominant motion, else changed. ``"reuse"``: moved.
        scene_cut: share of the cells that nothing explains above which a frame is encoded whole.
        max_age: frames after which a cell is encoded anew.
        patch: patch side of the encoder in pixels.
        merge: merge side of the encoder in patches; a cell is ``patch * merge`` pixels square.
        temporal_patch: frames that one cell spans, 1 or 2.
        sub_blocks: parts per patch side that are compared on their own; divides ``patch``.
        chroma: compare Cb and Cr too, if the input has them.
        hysteresis: factor on the limit for kept cells beside a changed one.
        noise: ``"adaptive"``: the limit follows the noise, up to twice ``threshold``.
        size: ``(H, W)`` of the grid in pixels; needed to push a ``FrameBatch``.
        fit: how a ``FrameBatch`` is brought to ``size``: ``"stretch"``, ``"crop"`` or ``"pad"``.
        motion_precision: 1, 2 or 4: vectors to a whole, half or quarter of a pixel. Finer ones
            follow pans, scrolling and zooms, which seldom move by whole pixels; the search takes
            longer.

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
    ) -> None:
        settings = {name: value for name, value in locals().items() if name != "self"}
        self.settings = GateSettings(**settings)
        self._state: _State | None = None
        self._pending: Tensor | None = None  # [S, 1, C, H, W]: a frame without its partner
        self._pending_map: Tensor | None = None  # [h, w]: that it was pushed with
        self._streamed = False  # the last push had a stream dimension

    @property
    def size(self) -> tuple[int, int] | None:
        """``(H, W)`` of the grid in pixels, if it was given."""
        return cast("tuple[int, int] | None", self.settings.size)

    @property
    def picture_ids(self) -> Tensor | None:
        """Per pixel of the reference picture, the token that it came from: ``[S, H, W]`` int32.

        Only these, and the sources of the last frame, can be named by frames to come. The gate's
        own memory, not to be written to; None before the first push.
        """
        return None if self._state is None else self._state.ids

    def fresh(self, **changes: Any) -> Self:
        """A gate of the same settings but for ``changes``, with no state."""
        return type(self)(**{**asdict(self.settings), **changes})

    def __repr__(self) -> str:
        return f"Gate({', '.join(f'{k}={v!r}' for k, v in asdict(self.settings).items())})"

    def push(self, planes: Tensor | FrameBatch, threshold_map: Tensor | None = None) -> GateResult:
        """The next frames of the stream(s). Does not synchronise, but to check a threshold_map.

        Args:
            planes: uint8 ``[T, C, H, W]`` or ``[S, T, C, H, W]`` on the grid: C = 1 (luma) or 3
                (Y, Cb, Cr, full range), H and W multiples of the cell. Or a ``FrameBatch``, which
                is brought to ``size``.
            threshold_map: ``[h, w]``, a factor on the limit of each cell for this push; 0 is exact,
                ``inf`` never changes again until a key frame or max_age.

        Returns:
            A ``GateResult``. With ``temporal_patch=2`` an odd frame waits for its partner, and the
            map of the push that brings it holds for both.

        Raises:
            TypeError, ValueError: the input does not fit; the gate is left as it was.
        """
        if isinstance(planes, FrameBatch):
            if self.size is None:
                raise ValueError(
                    "a FrameBatch needs a grid to be brought to: make the gate with size=(H, W)"
                )
            planes = grid.to_grid(planes, self.size, self.settings.fit)
        seen = None if self._state is None else self._state.picture
        frames = checked_planes(planes, self.settings, seen)  # [S, T, C, H, W]
        factors = checked_map(threshold_map, self.settings, frames)  # [h, w]
        if self._pending is not None:
            frames = torch.cat([self._pending, frames], 1)
        whole = frames.shape[1] - frames.shape[1] % self.settings.temporal_patch
        result = self._run(frames[:, :whole], factors)
        self._pending = frames[:, whole:].clone() if whole < frames.shape[1] else None
        self._pending_map = factors
        self._streamed = planes.dim() == 5
        return result if self._streamed else GateResult(*(tensor[0] for tensor in result))

    def flush(self) -> GateResult:
        """Repeats a frame that waits for its partner; without one the result has T = 0.

        Raises:
            ValueError: nothing was pushed since the last reset.
        """
        if self._state is None:
            raise ValueError("flush: nothing was pushed since the gate was made or reset")
        s, _, c, height, width = self._state.picture.shape
        pending = self._pending
        if pending is None:
            pending = self._state.picture.new_empty((s, 0, c, height, width))
        result = self._run(torch.cat([pending, pending], 1), self._pending_map)
        self._pending = None
        return result if self._streamed else GateResult(*(tensor[0] for tensor in result))

    def reset(self, streams: Iterable[int] | Tensor | None = None) -> None:
        """Forgets all streams, or those given by index (or by a bool mask ``[S]``)."""
        if streams is None:
            self._state = self._pending = None
            return
        if self._state is None:
            raise ValueError("reset(streams=...): nothing was pushed yet, so there are no streams")
        if self._pending is not None:
            raise ValueError("reset(streams=...): a frame waits for its partner; flush() it first")
        clock = self._state.clock
        index = checked_streams(streams, len(clock))
        clock[index] = 0  # frame 0 again: the rest of the state is not read any more

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that it remembers, by name; empty before the first push. Not copies."""
        parts = {} if self._state is None else self._state._asdict()
        for name in ("pending", "pending_map"):
            if (tensor := getattr(self, f"_{name}")) is not None:
                parts[name] = tensor
        return {**parts, "streamed": truths([self._streamed])[0]} if parts else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Remembers what another gate of the same settings did.

        Raises:
            ValueError: not what ``state_dict`` gives, or with another cell,
                ``temporal_patch`` or ``max_age``.
        """
        parts = dict(state)
        pending, pending_map, streamed = (
            parts.pop(name, None) for name in ("pending", "pending_map", "streamed")
        )
        if parts and set(parts) != set(_State._fields):
            raise ValueError(f"state: expected {', '.join(_State._fields)}, got {sorted(parts)}")
        if parts:
            check_state(parts, self.settings)
        self._state = _State(**parts) if parts else None
        self._pending, self._pending_map = pending, pending_map
        self._streamed = streamed is not None and bool(streamed)

    def _run(self, frames: Tensor, factors: Tensor | None) -> GateResult:
        s, t, c, height, width = frames.shape
        f = self.settings.temporal_patch
        state = self._state if self._state is not None else self._new_state(frames)
        rules = self.settings.op_rules(state.source[0].numel())
        tubelets = frames.reshape(s, t // f, f, c, height, width)
        result = GateResult(*_ops.gate(tubelets, *state, factors, **rules))
        self._state = state  # only now: a push that failed leaves no trace
        return result

    def _new_state(self, frames: Tensor) -> _State:
        s, _, c, height, width = frames.shape
        h, w = height // self.settings.cell, width // self.settings.cell
        age = self.settings.max_age or 0

        def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
            with torch.inference_mode(False):  # later pushes may come from outside of it
                return torch.zeros(shape, dtype=dtype, device=frames.device)

        return _State(
            zeros(s, self.settings.temporal_patch, c, height, width, dtype=torch.uint8),
            zeros(s, height, width, dtype=torch.int32),
            zeros(s, h, w, dtype=torch.int64),
            zeros(s, 2, dtype=torch.int64),
            zeros(s, age, dtype=torch.int64),
            zeros(s, _QUARTILES, dtype=torch.int32),
        )
