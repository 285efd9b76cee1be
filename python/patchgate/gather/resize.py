"""How processors resize: the sizes they choose, the filters, the order of the passes.

A size rule's ``target`` takes a frame's height and width and the cell's side, in pixels.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from patchgate._check import checked_count, checked_switch, settle

Filter = Literal["bicubic", "bilinear", "lanczos"]
FirstPass = Literal["horizontal", "pillow13"]


@dataclass(frozen=True)
class Keep:
    """Keeps the frame's size."""

    def target(self, height: int, width: int, cell: int) -> tuple[int, int]:
        return height, width


@dataclass(frozen=True)
class Stretch:
    """Resizes to one size, whatever the aspect ratio (SigLIP)."""

    height: int
    width: int

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            settle(self, **{name: checked_count(name, getattr(self, name), 1)})

    def target(self, height: int, width: int, cell: int) -> tuple[int, int]:
        return self.height, self.width


@dataclass(frozen=True)
class ShortestEdge:
    """Resizes the shorter side to ``edge``, and rounds the longer one down (CLIP)."""

    edge: int

    def __post_init__(self) -> None:
        settle(self, edge=checked_count("edge", self.edge, 1))

    def target(self, height: int, width: int, cell: int) -> tuple[int, int]:
        if height < width:
            return self.edge, int(self.edge * width / height)
        return int(self.edge * height / width), self.edge


@dataclass(frozen=True)
class PixelRange:
    """Resizes sides to multiples of the cell, within bounds of pixels (Qwen-VL's smart_resize)."""

    least: int
    most: int

    def __post_init__(self) -> None:
        for name in ("least", "most"):
            settle(self, **{name: checked_count(name, getattr(self, name), 1)})

    def target(self, height: int, width: int, cell: int) -> tuple[int, int]:
        _check_ratio(height, width)
        h, w = round(height / cell) * cell, round(width / cell) * cell
        if h * w > self.most:
            return _shrunk(height, width, cell, math.sqrt(height * width / self.most))
        if h * w < self.least:
            return _grown(height, width, cell, math.sqrt(self.least / (height * width)))
        return h, w


@dataclass(frozen=True)
class PatchBudget:
    """Resizes to the largest scale at which the patches are few enough (SigLIP2 NaFlex)."""

    patches: int

    def __post_init__(self) -> None:
        settle(self, patches=checked_count("patches", self.patches, 1))

    def target(self, height: int, width: int, cell: int) -> tuple[int, int]:
        def scaled(scale: float) -> tuple[int, int]:
            h, w = (max(1, math.ceil(side * scale / cell)) * cell for side in (height, width))
            return h, w

        # The processor's own bisection: where it stops decides the size.
        low, high = 1e-6, 100.0
        while high - low >= 1e-5:
            middle = (low + high) / 2
            h, w = scaled(middle)
            if h // cell * (w // cell) <= self.patches:
                low = middle
            else:
                high = middle
        return scaled(low)


@dataclass(frozen=True)
class VideoPixelRange:
    """Resizes as Qwen's video processors do where the number of frames decides, too.

    Args:
        least, most: bounds of pixels.
        per_video: the bounds hold for the pixels of all frames together (Qwen3-VL). False: for
            those of each frame (Qwen2.5-VL with a cap).
        group: the number of frames of a tubelet.
        cap: ``max_video_tokens`` of a processor with ``cap_pixels_per_frame``: the most tokens of a
            frame (``per_video``), or those that a video gets nine tenths of. None: no cap.
        most_frames: a longer video has the size of one of so many frames, because the processor
            takes no more frames of it. None: any number counts.
        frames: the number of frames of the video. None: it is not known yet, see ``of_frames``.
    """

    least: int
    most: int
    per_video: bool = True
    group: int = 2
    cap: int | None = None
    most_frames: int | None = None
    frames: int | None = None

    def __post_init__(self) -> None:
        settle(self, per_video=checked_switch("per_video", self.per_video))
        for name in ("least", "most", "group"):
            settle(self, **{name: checked_count(name, getattr(self, name), 1)})
        for name in ("cap", "most_frames", "frames"):
            if getattr(self, name) is not None:
                settle(self, **{name: checked_count(name, getattr(self, name), 1)})

    def of_frames(self, frames: int) -> "VideoPixelRange":
        """Returns the rule for a video of so many frames."""
        return replace(self, frames=frames)

    def target(self, height: int, width: int, cell: int) -> tuple[int, int]:
        if self.frames is None:
            raise ValueError(
                "the processor resizes a frame by how many frames its video has, and this is not "
                "known here: give the number to PixelSpec.from_processor(processor, frames=..), "
                "and the PixelSpec to gated"
            )
        most_frames = self.frames if self.most_frames is None else self.most_frames
        frames = max(self.group, min(self.frames, most_frames))
        if not self.per_video:
            return PixelRange(self.least, self._capped(frames, cell)).target(height, width, cell)
        if min(height, width) < cell:
            grow = max(cell / height, cell / width)
            height, width = int(height * grow), int(width * grow)
        _check_ratio(height, width)
        h, w = round(height / cell) * cell, round(width / cell) * cell
        most, pixels = self._capped(frames, cell), round(frames / self.group) * self.group * h * w
        if pixels > most:
            return _shrunk(height, width, cell, math.sqrt(frames * height * width / most))
        if pixels < self.least:
            return _grown(height, width, cell, math.sqrt(self.least / (frames * height * width)))
        return h, w

    def _capped(self, frames: int, cell: int) -> int:
        """Returns the most pixels, of all frames or of one."""
        if self.cap is None:
            return self.most
        floor = int(self.least * 1.05)
        if self.per_video:
            return max(min(self.cap * cell**2, self.most // frames), floor) * frames
        return max(min(self.most, int(self.cap * cell**2 * 0.9) * self.group // frames), floor)


def _check_ratio(height: int, width: int) -> None:
    if max(height, width) > 200 * min(height, width):
        raise ValueError(f"frames of {height} x {width}: an aspect ratio of more than 200")


def _shrunk(height: int, width: int, cell: int, by: float) -> tuple[int, int]:
    """Divides sides, which are rounded down to whole cells, at least one."""
    h, w = (max(cell, math.floor(side / by / cell) * cell) for side in (height, width))
    return h, w


def _grown(height: int, width: int, cell: int, by: float) -> tuple[int, int]:
    """Multiplies sides, which are rounded up to whole cells."""
    h, w = (math.ceil(side * by / cell) * cell for side in (height, width))
    return h, w


SizeRule = Keep | Stretch | ShortestEdge | PixelRange | PatchBudget | VideoPixelRange
