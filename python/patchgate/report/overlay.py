"""Writes the video with the cells drawn on it: ``patchgate inspect VIDEO --overlay out.mp4``.

Letters: T frames (or tubelets), f frames of a tubelet, H W pixels shown, h w cells.
"""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from patchgate import grid
from patchgate.decode import FrameBatch
from patchgate.decode.ffmpeg import av
from patchgate.gate import CHANGED, Gate
from patchgate.report.cells import arrows, draw_arrows, shown_size, tinted
from patchgate.tokens import TokenChunk

SUFFIXES = (".mp4", ".mov", ".mkv")
_LONGEST = 960  # pixels of the longer side
_ARROWS_APART = 44  # pixels
_CLOCK = Fraction(1, 120_000)  # a tick that divides the frames of every usual rate, 23.976 too
_BT709 = 1  # its number in ITU-T H.273


class OverlayVideo:
    """Writes a video file (H.264) of the frames that are added, at their own times.

    Args:
        path: the file to write. Its suffix chooses the container.
        gate: the gate that the chunks come from.
        aspect: the width / height at which the grid is shown.
    """

    def __init__(self, path: Path, gate: Gate, aspect: float) -> None:
        self._gate, self._path = gate, path
        self._size = shown_size(aspect, _LONGEST)
        self._font = ImageFont.load_default(max(12, max(self._size) // 42))

    def __enter__(self) -> Self:
        # (the clock of a late start, which is the file's own and not the stream's)
        clock = {} if self._path.suffix == ".mkv" else {"movie_timescale": str(1 / _CLOCK)}
        self._out = av.open(str(self._path), "w", container_options=clock)
        # No frame rate is named: the stamps say when each frame is shown.
        self._stream = self._out.add_stream(
            "libx264", options={"preset": "veryfast", "crf": "23", "bf": "0"}
        )
        self._stream.height, self._stream.width = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = _CLOCK
        self._stream.codec_context.colorspace = _BT709
        self._stream.codec_context.color_range = av.video.reformatter.ColorRange.MPEG
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._out.mux(self._stream.encode(None))
        self._out.close()

    def add(self, chunk: TokenChunk, batches: list[FrameBatch]) -> None:
        """Adds a chunk, with the frames that it was made of."""
        f, given = self._gate.settings.temporal_patch, 0
        for batch in batches:
            luma = grid.to_grid(batch, self._size, self._gate.settings.fit)[:, 0].numpy()
            for i in range(len(batch)):
                at = given // f
                seconds = float(batch.pts_seconds[i])
                shown = self._drawn(
                    luma[i], chunk.kind[at].numpy(), chunk.motion[at].numpy(), seconds
                )
                self._write(shown, seconds, float(batch.duration_seconds[i]))
                given += 1

    def _drawn(
        self, luma: np.ndarray, kind: np.ndarray, motion: np.ndarray, seconds: float
    ) -> np.ndarray:
        """Draws luma ``[H, W]``, kinds ``[h, w]`` and vectors ``[h, w, 2]`` as ``[H, W, 3]``."""
        settings, image = self._gate.settings, Image.fromarray(tinted(luma, kind))
        reach, pixels = settings.search_radius or 1, motion / settings.motion_precision
        draw_arrows(image, arrows(kind, pixels, self._size, settings.cell, reach, _ARROWS_APART))
        kept = float((kind == CHANGED).mean())
        text = f"{seconds:.2f} s   " + ("key frame" if kept == 1 else f"kept {kept:.1%}")
        pen = ImageDraw.Draw(image)
        box = pen.textbbox((14, 10), text, self._font)
        pen.rectangle((box[0] - 8, box[1] - 6, box[2] + 8, box[3] + 6), fill=(20, 20, 20))
        pen.text((14, 10), text, "white", self._font)
        return np.asarray(image)

    def _write(self, rgb: np.ndarray, seconds: float, duration: float) -> None:
        reformatter = av.video.reformatter
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
            format="yuv420p",
            dst_colorspace=reformatter.Colorspace.ITU709,
            dst_color_range=reformatter.ColorRange.MPEG,
        )
        frame.pts, frame.time_base = round(seconds / _CLOCK), _CLOCK
        frame.duration = round(duration / _CLOCK)
        self._out.mux(self._stream.encode(frame))
