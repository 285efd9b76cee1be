"""The main job: ``tokenize`` turns a video into the tokens of what changed."""

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
from patchgate.pipeline.given import Given, in_memory
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
        video: a path, a file object, bytes, or a ``Video`` that is already open. Or frames that
            are in memory: RGB pictures ``[T, H, W, 3]`` or ``[T, 3, H, W]`` uint8 of numpy or
            torch, a ``FrameBatch``, or an iterable of pictures or batches, which is read as it
            goes. (OpenCV's BGR goes through ``FrameBatch.from_bgr``.)
        tower: a tower made by ``gated``: the features are its last hidden states of each cell in
            the frame that kept it (later states of still cells, which a tolerance computes, are not
            stored). Only kept cells are converted to RGB. None: the features are the cells' own
            samples.
        gate: its settings are used, with a new state. None: those of the tower or of
            ``Gate(size=size)``, with the rules that are given here.
        size: ``(H, W)`` of the grid in pixels; None: that of the tower or the gate, or 378 x 378 if
            neither has one.
        fps: the number of frames per second to look at; None: every frame. Of frames in memory,
            the rate at which they come, if they have no times.
        start, end: seconds on the video's clock.
        device: "cpu", or "cuda" to decode on the GPU: frames never leave it. Frames in memory stay
            on their own device.
        on_chunk: a function that is called with every ``TokenChunk`` as it is made.
        options: the gate's rules, such as ``threshold`` (see ``Gate``), if no gate is given:
            ``tokenize(video, threshold=8)`` does what ``tokenize(video, gate=Gate(threshold=8))``
            does; with a tower, all other rules are the tower's. And options of ``open_video``, such
            as ``chunk`` and ``threads``.

    Returns:
        ``VideoTokens`` on the CPU; the features are on the device of the tower or, without one, of
        the video. The call needs memory for the tokens, 11 bytes per cell and frame, and a few
        chunks of frames, whatever the video's length; on a GPU see ``surface_chunks``. A video of
        more than 2^31 - 2 tokens ends there, with a warning that says where to go on. The call
        synchronises.

    Raises:
        FileNotFoundError, ValueError, TypeError: ``open_video`` or ``Gate`` raises; the tower is
            not gated; the gate does not fit the tower; there are rules and a gate; there is no such
            option; frames in memory are no pictures, have no times, or come with an option of
            files.
    """
    rules, open_options = parted("tokenize", options, gate)
    gate = fitting_gate(tower, gate, size, rules)
    if in_memory(video):
        _check_given(start, end, device, open_options)
        return _tokenized(Given(video, fps), tower, gate, on_chunk)
    with opened(video, fps, start, end, device, open_options) as source:
        return _tokenized(source, tower, gate, on_chunk)


def _tokenized(
    source: Video | Given,
    tower: GatedTower | None,
    gate: Gate,
    on_chunk: Callable[[TokenChunk], None] | None,
) -> VideoTokens:
    gate, features = prepared(source, tower, gate)
    layout = layout_of(gate, source.colour.matrix) if tower is None else None
    return collected(source, gate, features, layout, on_chunk)


def _check_given(
    start: float | None, end: float | None, device: str, options: dict[str, Any]
) -> None:
    """Checks that frames in memory come without options of files."""
    ranged = {"start": start, "end": end}
    named = [name for name, value in ranged.items() if value is not None] + list(options)
    if named:
        raise ValueError(
            f"tokenize: {', '.join(named)}: these are options of a video file, got frames that are "
            "in memory; take a part of them by slicing"
        )
    if device != "cpu":
        raise ValueError(
            f"tokenize: device={device!r} is where a file is decoded; frames in memory stay on "
            "their own device: move them there first"
        )


@contextlib.contextmanager
def opened(
    video: Any,
    fps: float | None,
    start: float | None,
    end: float | None,
    device: str,
    options: dict[str, Any],
) -> Iterator[Video]:
    """Opens a video and closes it afterwards; yields a ``Video`` that is open already unchanged."""
    if isinstance(video, Video):
        if options or any(value is not None for value in (fps, start, end)):
            raise ValueError("an open Video has its fps, start, end and options already")
        yield video
        return
    with open_video(video, fps=fps, start=start, end=end, device=device, **options) as opened:
        yield opened
