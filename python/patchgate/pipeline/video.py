"""The main job: a video in, the tokens of what changed out."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Unpack

from patchgate._signature import spelled
from patchgate.decode import Video, open_video
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import Gate, GateSettings
from patchgate.gate.settings import GEOMETRY
from patchgate.pipeline.collect import collected
from patchgate.pipeline.fitting import fitting_gate, prepared
from patchgate.pipeline.options import TokenizeKwargs, parted
from patchgate.tokens import TokenChunk, VideoTokens
from patchgate.tokens.layout import layout_of


@spelled(GateSettings, open_video, leave_out=GEOMETRY)
def tokenize(
    video: Any,
    tower: GatedTower | None = None,
    gate: Gate | None = None,
    size: int | tuple[int, int] | None = None,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    device: str = "cpu",
    on_chunk: Callable[[TokenChunk], None] | None = None,
    **options: Unpack[TokenizeKwargs],
) -> VideoTokens:
    """Turns every frame of a video into tokens, of which only the changed cells are new.

    Args:
        video: a path, a file object, bytes, or a ``Video`` that is already open.
        tower: a tower made by ``gated``: the features are its last hidden states of each cell in
            the frame that kept it (what a tolerance computes of still cells later is not stored),
            and only kept cells are ever converted to RGB. None: the cells' own samples.
        gate: its settings are used, with a fresh state. None: the tower's, or those of
            ``Gate(size=size)``, but for the rules that are given here.
        size: ``(H, W)`` of the grid in pixels; None: the tower's or the gate's, or where neither
            says, 378 x 378.
        fps: frames per second to look at; None: every frame.
        start, end: seconds on the video's clock.
        device: "cpu", or "cuda" to decode on the GPU: frames never leave it.
        on_chunk: called with every ``TokenChunk`` as it is made.
        options: the gate's rules, as ``threshold`` (see ``Gate``), where no gate is given:
            ``tokenize(video, threshold=8)`` is ``tokenize(video, gate=Gate(threshold=8))``, and
            with a tower its rules but for this one. And the options of ``open_video``, as ``chunk``
            and ``threads``.

    Returns:
        ``VideoTokens`` on the CPU (features: where the tower is, or without one the video).
        Memory: the tokens, 11 bytes per cell and frame, and a few chunks of frames, whatever the
        video's length; on a GPU see ``surface_chunks``. A video of more than 2^31 - 2 tokens ends
        there, with a warning that says where to go on.

    Raises:
        FileNotFoundError, ValueError, TypeError: from ``open_video`` and ``Gate``; a tower that is
            not gated; a gate that does not fit the tower; rules beside a gate; an option that there
            is not.
    """
    rules, open_options = parted("tokenize", options, gate)
    gate = fitting_gate(tower, gate, size, rules)
    with opened(video, fps, start, end, device, open_options) as source:
        gate, features = prepared(source, tower, gate)
        layout = layout_of(gate, source.colour.matrix) if tower is None else None
        return collected(source, gate, features, layout, on_chunk)


@contextlib.contextmanager
def opened(
    video: Any,
    fps: float | None,
    start: float | None,
    end: float | None,
    device: str,
    options: dict[str, Any],
) -> Iterator[Video]:
    """The video, opened; closed afterwards if it was opened here."""
    if isinstance(video, Video):
        if options or any(value is not None for value in (fps, start, end)):
            raise ValueError("an open Video has its fps, start, end and options already")
        yield video
        return
    with open_video(video, fps=fps, start=start, end=end, device=device, **options) as opened:
        yield opened
