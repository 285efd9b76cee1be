"""How many tokens a language model is given of a frame: after merging and pooling, at any scale.

A scale is linear: 2 halves both sides. Sides are rounded to whole cells, so that tokens do not fall
by exactly its square.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from patchgate._check import checked_choice, checked_count, checked_number, checked_switch, settle

Rounding = Literal["transformers", "transformers_capped", "qwen_vl_utils"]
_ROUNDINGS = ("transformers", "transformers_capped", "qwen_vl_utils")


class Grid(Protocol):
    """What a budget needs to know of an encoder."""

    @property
    def group(self) -> int:
        """Frames that share their tokens: the temporal patch."""

    @property
    def extra(self) -> int:
        """Tokens of a video that belong to no frame."""

    @property
    def most_frames(self) -> int | None:
        """The most frames of a video that the processor takes by itself; None: any number."""

    def cells(self, scale: float, frames: int) -> tuple[int, int]:
        """Tokens of one group down and across, where a video of so many frames is shown."""


def tokens_of(grid: Grid, scale: float, frames: int) -> int:
    """The tokens of one group."""
    h, w = grid.cells(scale, frames)
    return h * w


@dataclass(frozen=True)
class Cells:
    """A grid that depends on the scale only: sides are rounded, halves to even."""

    h: int
    w: int
    group: int = 1
    extra: int = 0
    most_frames: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("h", 1), ("w", 1), ("group", 1), ("extra", 0)):
            settle(self, **{name: checked_count(name, getattr(self, name), least)})
        _settle_most_frames(self)

    def cells(self, scale: float, frames: int) -> tuple[int, int]:
        return max(1, round(self.h / scale)), max(1, round(self.w / scale))


@dataclass(frozen=True)
class Pooled(Cells):
    """The tower's grid is the same at every scale; its tokens are pooled by a stride, rounded up.

    LLaVA-OneVision (arXiv 2408.03326): bilinear pooling of 27 x 27 to ceil(27 / 2) = 14 a side.
    """

    stride: float = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, stride=checked_number("stride", self.stride, 1, 1e9, "tokens"))

    def cells(self, scale: float, frames: int) -> tuple[int, int]:
        step = self.stride * scale
        return math.ceil(self.h / step), math.ceil(self.w / step)


@dataclass(frozen=True)
class Qwen:
    """Qwen-VL's video grids: sides are multiples of patch * merge, within bounds of pixels.

    Args:
        height, width: of the video, in pixels.
        side: of a token in pixels, patch * merge.
        rounding: whose arithmetic; the three disagree (docs/policies.md).
        per_video: the bounds of ``"transformers"`` are on T * H * W (Qwen3-VL), else on H * W.
        least, most: those bounds in tokens' worth of pixels, ``side ** 2``.
    """

    height: int
    width: int
    side: int
    rounding: Rounding
    per_video: bool
    least: int = 128
    most: int = 768
    group: int = 2
    extra: int = 0
    most_frames: int | None = 768  # both processors' max_frames

    FRAME_MOST = 768  # tokens' worth of pixels that qwen-vl-utils gives a frame
    TOTAL = 128_000  # of a video, of which nine tenths are used

    def __post_init__(self) -> None:
        settle(
            self,
            rounding=checked_choice("rounding", self.rounding, _ROUNDINGS),
            per_video=checked_switch("per_video", self.per_video),
            extra=checked_count("extra", self.extra, 0),
        )
        for name in ("height", "width", "side", "least", "most", "group"):
            settle(self, **{name: checked_count(name, getattr(self, name), 1)})
        _settle_most_frames(self)

    def cells(self, scale: float, frames: int) -> tuple[int, int]:
        h, w = self._full(max(frames, self.group))
        return max(1, round(h / scale)), max(1, round(w / scale))

    def _full(self, frames: int) -> tuple[int, int]:
        """At scale 1."""
        area = self.side**2
        least: float = self.least * area
        most: float = self.most * area
        if self.rounding == "qwen_vl_utils":
            share = self.TOTAL * area * 0.9 / frames * self.group
            most = max(min(self.FRAME_MOST * area, share), int(1.05 * least))
        elif self.rounding == "transformers_capped" and not self.per_video:
            share = int(self.TOTAL * area * 0.9) * self.group // frames
            most = max(min(most, share), int(1.05 * least))
        elif self.rounding == "transformers_capped":
            each = max(min(self.FRAME_MOST * area, most // frames), int(1.05 * least))
            most = each * frames
        per_video = self.per_video and self.rounding != "qwen_vl_utils"
        return self._resized(frames if per_video else 1, per_video, least, most)

    def _resized(self, frames: int, per_video: bool, least: float, most: float) -> tuple[int, int]:
        """Qwen's smart_resize, in cells; with several frames that of Qwen3-VL's processor."""
        height, width, side = self.height, self.width, self.side
        if per_video and min(height, width) < side:
            grow = max(side / height, side / width)
            height, width = int(height * grow), int(width * grow)
        if max(height, width) > 200 * min(height, width):
            raise ValueError(f"frames of {height} x {width}: an aspect ratio of more than 200")
        h, w = round(height / side), round(width / side)
        deep = round(frames / self.group) * self.group if per_video else 1
        pixels = deep * h * w * side**2
        if pixels > most:
            shrink = math.sqrt(frames * height * width / most)
            return (max(1, math.floor(height / shrink / side)),
                    max(1, math.floor(width / shrink / side)))  # fmt: skip
        if pixels < least:
            grow = math.sqrt(least / (frames * height * width))
            return math.ceil(height * grow / side), math.ceil(width * grow / side)
        return h, w


def _settle_most_frames(grid: Any) -> None:
    if grid.most_frames is not None:
        settle(grid, most_frames=checked_count("most_frames", grid.most_frames, 1))


def siglip(size: int = 384, patch: int = 14) -> Cells:
    """SigLIP and SigLIP-like towers with one token a patch: so400m/14-384 has 27 x 27 = 729."""
    patch = checked_count("patch", patch, 1)
    side = checked_count("size", size, patch) // patch
    return Cells(side, side)


def llava_onevision(size: int = 384, patch: int = 14) -> Pooled:
    """LLaVA-OneVision: 14 x 14 = 196 tokens a frame, and one that ends the video."""
    patch = checked_count("patch", patch, 1)
    side = checked_count("size", size, patch) // patch
    return Pooled(side, side, extra=1)


def qwen25_vl(height: int, width: int, rounding: Rounding = "transformers") -> Qwen:
    """Qwen2.5-VL: tokens of 28 pixels, two frames deep, for a video of this size in pixels.

    ``"transformers"``: its Qwen2VLVideoProcessor as it comes; ``"transformers_capped"``: with
    cap_pixels_per_frame; ``"qwen_vl_utils"``: fetch_video of the package of that name.
    """
    return Qwen(height, width, 28, rounding, per_video=False)


def qwen3_vl(
    height: int, width: int, rounding: Rounding = "transformers", most: int = 24_576
) -> Qwen:
    """Qwen3-VL: tokens of 32 pixels, two frames deep, for a video of this size in pixels.

    As ``qwen25_vl``, but the processor of transformers bounds the pixels of all frames together:
    by ``most`` times 1024, its ``size["longest_edge"]`` (the class itself has 768 times 1024).
    """
    most = checked_count("most", most, 1)
    return Qwen(height, width, 32, rounding, per_video=True, most=most)
