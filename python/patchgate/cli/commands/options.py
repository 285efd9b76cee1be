"""The options that commands share. Each is declared once, with its unit and its default."""

from dataclasses import dataclass, fields
from typing import Annotated, Any

import typer

from patchgate.cli.commands.models import MODELS, OWN, Model, model_of
from patchgate.cli.commands.typed import as_usage_error, parsed_size, refuse

_GATE, _ENCODER, _VIDEO = "What counts as changed", "The encoder's grid", "Which frames"
GEOMETRY = ("size", "patch", "merge", "temporal_patch", "fit")  # the options of the grid
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
    memory: Annotated[
        int | None,
        _option(_GATE, "Remember so many earlier pictures: cells that equal one need no new "
                "token (dialogues, slides, windows).", show_default="off"),
    ] = None  # fmt: skip
    illumination: Annotated[
        str | None,
        _option(_GATE, "'global': follow the light of the scene: fades, flicker, lamps and "
                "exposure cost few tokens.", show_default="off", metavar="global"),
    ] = None  # fmt: skip
    grid: Annotated[
        str,
        _option(_ENCODER, "Whose grid, so that shares and costs are the model's: own (--size, "
                f"--patch and the like), or {', '.join(MODELS)}, which sets these.",
                metavar="NAME"),
    ] = OWN  # fmt: skip
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

    @property
    def model(self) -> Model | None:
        """The model of ``--grid``; None: the grid is made of the other options."""
        with as_usage_error():
            return model_of(self.grid)

    def gate(self, context: typer.Context | None = None) -> Any:
        """Makes the ``Gate``. One whose size depends on the video's has none (``cli/grids.py``).

        Args:
            context: tells which options were given; None: none of those that ``--grid`` sets.

        Raises:
            typer.BadParameter: the options make no gate, or ``--grid`` sets one of them.
        """
        from patchgate.gate import Gate

        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        del settings["grid"]
        if settings.pop("no_scene_cut"):
            settings["scene_cut"] = None
        model = self.model
        with as_usage_error():
            settings["size"] = parsed_size(self.size)
            if model is not None:
                if context is not None:
                    refuse(context, GEOMETRY, f"--grid {self.grid}")
                settings |= {name: getattr(model, name) for name in GEOMETRY}
            return Gate(**settings)


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

    def limits(self) -> Any:
        """Returns them as ``Limits``."""
        from patchgate.decode import Limits

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
    ] = 10.0  # fmt: skip
    read_timeout: Annotated[
        float,
        _option(_SOURCE, "Seconds that it may say nothing while it is read; 0: for ever.", min=0),
    ] = 10.0

    def opening(self) -> dict[str, Any]:
        """Returns them as options of ``open_video``."""
        from patchgate.decode.source.access import Access, AccessKwargs

        limits = self.limits()
        with as_usage_error():
            access = Access(self.format, self.allow_playlists, self.open_timeout or None,
                            self.read_timeout or None, self.stream, limits)  # fmt: skip
        return {name: getattr(access, name) for name in AccessKwargs.__annotations__}


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
        import torch

        from patchgate._check import checked_number

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
