"""``watch``: its arguments, and how a camera is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Unpack

from patchgate._check import checked_number
from patchgate._signature import spelled
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import Gate, GateSettings
from patchgate.gate.settings import GEOMETRY, GateRules
from patchgate.pipeline import Tokenizer
from patchgate.pipeline.fitting import fitting_gate
from patchgate.pipeline.options import parted

from .beginning import LiveKwargs, LiveSource, begin
from .budget import Budget
from .camera import Camera
from .events import LiveEvent
from .opening import defaults
from .store import Segments
from .watch import OnChange, OnEvent, OnTokens, Watch, tower_device

_FACTOR = 4.0  # of the usual ceiling over the threshold
_NOT_HERE = ("on_event", "chunk", "max_delay")  # of open_live: watch has its own


@spelled(GateSettings, leave_out=GEOMETRY)
def watch(
    cameras: Mapping[str, LiveSource],
    tower: GatedTower | None = None,
    *,
    gate: Gate | None = None,
    size: int | tuple[int, int] | None = None,
    max_delay: float | None = None,
    ceiling: float | None = None,
    on_tokens: OnTokens | None = None,
    on_change: OnChange | None = None,
    on_event: OnEvent | None = None,
    output: Segments | None = None,
    opening: LiveKwargs | None = None,
    **rules: Unpack[GateRules],
) -> Watch:
    """Watches many cameras with one tower.

    In each round, the newest frame of each camera that has one goes through a gate of its own, and
    what changed in all of them passes through the tower together. A camera that cannot be opened,
    stalls, or fails is told to ``on_event`` and tried again, for as long as it is watched; the
    others go on. So do they if the tokens of one cannot be made.

    Args:
        cameras: the source of each, by name, as ``open_live`` takes it.
        tower: a tower made by ``gated``. None: the features are the cells' own samples, for users
            of ``on_change`` alone.
        gate, size, rules: as in ``Tokenizer``; each camera has a gate of its own with them.
        max_delay: the most seconds from the arrival of a frame to its tokens. Frames are dropped
            first: each camera gives its newest. If three frames of a camera in a row are late even
            so, the threshold of its gate is raised by one of four steps towards ``ceiling``; after
            25 frames within half of ``max_delay`` it goes one step back. None: it stays.
        ceiling: the highest threshold, in grey levels; None: four times the gate's own.
        on_tokens: is called with a camera's name and a ``TokenChunk``, for each frame.
        on_change: is called with a camera's name, the rectangles (``Box``, in pixels of its own
            frames) around cells that changed, and the frame's time in seconds, where any changed.
        on_event: is called with a camera's name and a ``LiveEvent``.
        output: writes the tokens to files; ``close`` it afterwards. Each of its segments begins
            with a whole frame, and tokens are numbered from 0 again there.
        opening: keywords of ``open_live`` for all cameras. ``add`` takes others for one.

    Returns:
        A ``Watch``. Its work is done while it is iterated, or in ``run()``, and all callbacks are
        called there.

    Raises:
        TypeError, ValueError: the tower is not gated, the gate does not fit it, an option is out of
            range, or ``open_live`` refuses a source. Then no camera is open.
    """
    own, _ = parted("watch", rules, gate, GateRules)
    settings = fitting_gate(tower, gate, size, own).settings
    if max_delay is not None:
        max_delay = checked_number("max_delay", max_delay, 1e-3, 1e9, "seconds")
    top = min(255.0, _FACTOR * max(settings.threshold, 0.5))
    if ceiling is not None:
        top = checked_number("ceiling", ceiling, settings.threshold, 255, "grey levels")
    usual = {**defaults(), "device": tower_device(tower), **_checked_opening(opening or {})}

    def opened(
        name: str, source: Any, options: Mapping[str, Any], hear: Callable[[LiveEvent], None]
    ) -> Camera:
        given = {**usual, **_checked_opening(options), "on_event": hear}
        tokenizer = Tokenizer(tower, gate=Gate.of(settings), size=None if tower else settings.size)
        live = begin(source, patient=given["reconnect"] is not False, given=given)
        limit = given["read_timeout"] if live.iterates else None
        budget = Budget(max_delay, settings.threshold, top)
        return Camera(name, live, tokenizer, tower, settings, budget, limit)

    watched = Watch(opened, on_tokens, on_change, on_event, output)
    try:
        for name, source in cameras.items():
            watched.add(name, source)
    except BaseException:
        watched.close()
        raise
    return watched


def _checked_opening(given: Mapping[str, Any]) -> dict[str, Any]:
    known = [name for name in LiveKwargs.__annotations__ if name not in _NOT_HERE]
    for name in given:
        if name not in known:
            raise TypeError(f"opening: expected options of {', '.join(known)}, got {name!r}")
    return dict(given)
