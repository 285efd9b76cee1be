"""The options that commands share. Each is declared once, with its unit and its default."""

import functools
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any

import torch
import typer

from patchgate._check import checked_number
from patchgate.decode import Limits
from patchgate.decode.source.access import DEFAULT_TIMEOUT, Access
from patchgate.gate import Gate

_GATE, _ENCODER, _VIDEO = "What counts as changed", "The encoder's grid", "Which frames"
_SOURCE, _LIMITS = "Where they come from", "What the video may ask for"


def _option(panel: str, help: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


@dataclass(frozen=True)
class GateOptions:
    """The settings of ``patchgate.Gate``."""

    threshold: Annotated[
        float,
        _option(_GATE, "Mean difference of a sub-block that still counts as equal, in grey levels "
                "of 255; 0 is exact."),
    ] = 4  # fmt: skip
    search_radius: Annotated[
        int,
        _option(
            _GATE,
            "Reach of the motion search, in pixels of the grid, 0..127 "
            "(over --motion-precision); 0: off.",
        ),
    ] = 8
    on_motion: Annotated[
        str,
        _option(_GATE, "Moved cells are new tokens: always (encode), unless they move with the "
                "camera (camera), never (reuse).", metavar="encode|camera|reuse"),
    ] = "camera"  # fmt: skip
    scene_cut: Annotated[
        float,
        _option(_GATE, "Share of unexplained cells, 0..1, above which a whole frame is encoded."),
    ] = 0.8
    no_scene_cut: Annotated[
        bool, _option(_GATE, "Never encode a whole frame for a scene cut.", "--no-scene-cut")
    ] = False
    max_age: Annotated[
        int | None,
        _option(_GATE, "Encode a cell again after so many frames.", show_default="never"),
    ] = None
    sub_blocks: Annotated[
        int, _option(_GATE, "Parts a patch side that are compared on their own; divides --patch.")
    ] = 2
    chroma: Annotated[
        bool, _option(_GATE, "Compare colour too, or brightness only.", "--chroma/--no-chroma")
    ] = True
    hysteresis: Annotated[
        float | None,
        _option(_GATE, "Beside a changed cell, a cell changes at this share of the limit, 0..1.",
                show_default="off"),
    ] = None  # fmt: skip
    noise: Annotated[
        str | None,
        _option(_GATE, "'adaptive': the limit follows the camera's noise, up to twice "
                "--threshold.", show_default="off", metavar="adaptive"),
    ] = None  # fmt: skip
    motion_precision: Annotated[
        int,
        _option(_GATE, "Motion to a whole (1), half (2) or quarter (4) of a pixel: finer follows "
                "pans and scrolling, and takes longer.", metavar="1|2|4"),
    ] = 1  # fmt: skip
    size: Annotated[
        str,
        _option(_ENCODER, "The encoder's input, in pixels: one number for a square, or H,W.",
                metavar="SIDE|H,W"),
    ] = "378"  # fmt: skip
    patch: Annotated[int, _option(_ENCODER, "Patch side of the encoder, in pixels.")] = 14
    merge: Annotated[
        int, _option(_ENCODER, "Merge side of the encoder, in patches; a cell is patch * merge.")
    ] = 1
    temporal_patch: Annotated[
        int, _option(_ENCODER, "Frames that one token spans, 1 or 2.")
    ] = 1  # fmt: skip
    fit: Annotated[
        str,
        _option(_ENCODER, "How a frame is brought to --size.", metavar="stretch|crop|pad"),
    ] = "stretch"

    def gate(self) -> Gate:
        """Makes the gate. Raises ``typer.BadParameter`` if the options make none."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        if settings.pop("no_scene_cut"):
            settings["scene_cut"] = None
        with as_usage_error():
            return Gate(**{**settings, "size": parsed_size(self.size)})


@dataclass(frozen=True)
class LimitOptions:
    """The options that limit what a video may ask for."""

    max_pixels: Annotated[
        int | None, _option(_LIMITS, "Pixels of a picture.", min=1, show_default="67,108,864")
    ] = None
    max_frame_bytes: Annotated[
        int | None,
        _option(_LIMITS, "Bytes of a picture's planes.", min=1, show_default="512 MiB"),
    ] = None
    max_streams: Annotated[
        int | None, _option(_LIMITS, "Streams of a file.", min=1, show_default="256")
    ] = None
    max_duration: Annotated[
        float | None, _option(_LIMITS, "Length in seconds.", show_default="366 days")
    ] = None
    max_gap: Annotated[
        float | None,
        _option(_LIMITS, "Seconds from a picture to the next; a time stamp beyond is a bad one.",
                show_default="2 days"),
    ] = None  # fmt: skip
    max_chunk_bytes: Annotated[
        int | None,
        _option(_LIMITS, "Bytes of a batch's planes: it has fewer frames than --chunk where these "
                "would take more.", min=1, show_default="256 MiB"),
    ] = None  # fmt: skip

    def limits(self) -> Limits:
        """Returns them as ``Limits``."""
        asked = {
            field.name: value
            for field in fields(Limits)
            if (value := getattr(self, f"max_{field.name}")) is not None
        }
        with as_usage_error():
            return Limits(**asked)


@dataclass(frozen=True)
class OpenOptions(LimitOptions):
    """The options that limit which videos are opened, what they may ask for, and for how long."""

    stream: Annotated[
        int | None,
        _option(_SOURCE, "Which of the file's streams, counted from 0.", min=0,
                show_default="the one that shows the video"),
    ] = None  # fmt: skip
    format: Annotated[
        str | None,
        _option(_SOURCE, "FFmpeg's name of the file's format, such as h264 or hls.",
                metavar="NAME", show_default="found out"),
    ] = None  # fmt: skip
    allow_playlists: Annotated[
        bool,
        _option(_SOURCE, "Open playlists, too, and the files and addresses that they name.",
                "--allow-playlists"),
    ] = False  # fmt: skip
    open_timeout: Annotated[
        float,
        _option(_SOURCE, "Seconds that a server or pipe may take to its first frame; 0: for ever.",
                min=0),
    ] = DEFAULT_TIMEOUT  # fmt: skip
    read_timeout: Annotated[
        float,
        _option(_SOURCE, "Seconds that it may say nothing while it is read; 0: for ever.", min=0),
    ] = DEFAULT_TIMEOUT

    def opening(self) -> dict[str, Any]:
        """Returns them as options of ``open_video``."""
        limits = self.limits()
        with as_usage_error():
            access = Access(self.format, self.allow_playlists, self.open_timeout or None,
                            self.read_timeout or None, self.stream, limits)  # fmt: skip
        return {field.name: getattr(access, field.name) for field in fields(access)}


@dataclass(frozen=True)
class ReadOptions(OpenOptions):
    """The options that say which part of the video is read, and how."""

    fps: Annotated[
        float | None,
        _option(_VIDEO, "Look at so many frames a second.", show_default="every frame"),
    ] = None
    start: Annotated[
        float | None,
        _option(_VIDEO, "First moment, in seconds on the video's clock.", show_default="its begin"),
    ] = None
    end: Annotated[
        float | None,
        _option(_VIDEO, "End, in seconds on the video's clock.", show_default="its end"),
    ] = None
    chunk: Annotated[
        int, _option(_VIDEO, "Frames held in memory at once; the result is the same.", min=1)
    ] = 16
    threads: Annotated[
        int | None,
        _option(_VIDEO, "CPU threads.", min=1, max=256,
                show_default="up to 4 to decode, all for the rest"),
    ] = None  # fmt: skip

    def apply(self) -> dict[str, Any]:
        """Sets the number of threads, and returns the options of ``open_video``."""
        with as_usage_error():
            for name in ("start", "end"):
                if (value := getattr(self, name)) is not None:
                    checked_number(f"--{name}", value, -1e12, 1e12, "seconds")
            if self.fps is not None:
                checked_number("--fps", self.fps, 1e-6, 1e6, "frames a second")
            if self.start is not None and self.end is not None and self.end <= self.start:
                raise ValueError(f"--end: expected more than --start={self.start}, got {self.end}")
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        own = {field.name for field in fields(self)} - {field.name for field in fields(OpenOptions)}
        return {**{name: getattr(self, name) for name in own}, **self.opening()}


def parsed_size(text: str) -> tuple[int, int]:
    """Reads ``378``, ``378,672`` or ``378x672`` as (H, W)."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*(?:[,x]\s*(\d{1,6})\s*)?", text)
    if not found:
        raise ValueError(f"size: expected one number of pixels, or H,W; got {text!r}")
    return int(found[1]), int(found[2] or found[1])


@contextmanager
def as_usage_error() -> Iterator[None]:
    """Turns errors about an option's value into wrong usage (exit code 2)."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error


def spread(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turns parameters that are dataclasses of options into one parameter an option, for typer."""
    signature = inspect.signature(command)
    groups: dict[str, Any] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if is_dataclass(parameter.annotation)
    }
    parameters = [p for name, p in signature.parameters.items() if name not in groups]
    for group in groups.values():
        parameters += [
            inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default,
                              annotation=f.type)
            for f in fields(group)
        ]  # fmt: skip

    @functools.wraps(command)
    def with_groups(**values: Any) -> Any:
        for name, group in groups.items():
            values[name] = group(**{f.name: values.pop(f.name) for f in fields(group)})
        return command(**values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    with_groups.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[p.replace(kind=keyword) for p in parameters]
    )
    return with_groups
