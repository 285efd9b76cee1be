"""Counts the tokens that a language model gets for a frame, after merging and pooling.

A scale is linear: 2 halves both sides. Sides are rounded to whole cells. The number of tokens
therefore does not fall by exactly the square of the scale.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from patchgate._check import checked_choice, checked_count, checked_number, checked_switch, settle

Rounding = Literal["transformers", "transformers_capped", "qwen_vl_utils"]
_ROUNDINGS = ("transformers", "transformers_capped", "qwen_vl_utils")


class Grid(Protocol):
    """The facts about an encoder that a budget needs."""

    @property
    def group(self) -> int:
        """The number of frames that share their tokens: the temporal patch."""

    @property
    def extra(self) -> int:
        """The number of tokens of a video that belong to no frame."""

    @property
    def most_frames(self) -> int | None:
        """The most frames of a video that the processor takes by itself; None: any number."""

    def cells(self, scale: float, frames: int) -> tuple[int, int]:
        """Returns the tokens of one group down and across.

        Args:
            scale: the factor by which both sides of a frame are made smaller.
            frames: the number of frames that are shown of the video.
        """


def tokens_of(grid: Grid, scale: float, frames: int) -> int:
    """Counts the tokens of one group at a scale, if so many frames are shown of the video."""
    h, w = grid.cells(scale, frames)
    return h * w


@dataclass(frozen=True)
class Cells:
    """A grid that depends on the scale only; its sides are rounded, halves to even.

    Args:
        h, w: tokens of a frame down and across, at scale 1.
        group: frames that share their tokens.
        extra: tokens of a video that belong to no frame.
        most_frames: the most frames that the processor takes by itself; None: any number.

    Raises:
        TypeError, ValueError: an argument is not a whole number, or too small.
    """

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
        """Returns the cells down and across at ``1 / scale`` of the full size."""
        return max(1, round(self.h / scale)), max(1, round(self.w / scale))


@dataclass(frozen=True)
class Pooled(Cells):
    """A grid whose tokens are pooled by ``stride * scale``; its sides are rounded up.

    The tower itself has the same grid at every scale.

    Source: LLaVA-OneVision (arXiv 2408.03326): bilinear pooling of 27 x 27 tokens to
    ceil(27 / 2) = 14 a side.
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
    """Qwen-VL's video grid: sides are multiples of patch * merge, within bounds of pixels.

    Args:
        height, width: the size of the video in pixels.
        side: the side of a token in pixels, patch * merge.
        rounding: whose arithmetic is used; the three disagree (docs/policies.md).
        per_video: the bounds of ``"transformers"`` hold for the pixels of all frames together
            (Qwen3-VL). False: for those of one frame.
        least, most: these bounds, in units of a token's pixels, ``side ** 2``.
        group, extra, most_frames: see ``Cells``.

    Raises:
        TypeError, ValueError: an argument is of another kind, or too small.
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

    FRAME_MOST = 768  # the most tokens that qwen-vl-utils gives a frame
    TOTAL = 128_000  # tokens that it gives a video; it uses nine tenths of them

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
        """Returns the cells down and across at scale 1."""
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
        """Computes Qwen's smart_resize, in cells; with several frames, Qwen3-VL's."""
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
    """Returns the grid of SigLIP and of similar towers, with one token for each patch.

    so400m/14-384 has 27 x 27 = 729 tokens.

    Args:
        size: the side of the input in pixels.
        patch: the side of a patch in pixels.
    """
    patch = checked_count("patch", patch, 1)
    side = checked_count("size", size, patch) // patch
    return Cells(side, side)


def llava_onevision(size: int = 384, patch: int = 14) -> Pooled:
    """Returns the grid of LLaVA-OneVision, whose tokens are pooled by a stride of 2.

    With the defaults, a frame has 14 x 14 = 196 tokens. One more token ends the video.

    Args:
        size: the side of the input in pixels.
        patch: the side of a patch in pixels.
    """
    patch = checked_count("patch", patch, 1)
    side = checked_count("size", size, patch) // patch
    return Pooled(side, side, extra=1)


def qwen25_vl(height: int, width: int, rounding: Rounding = "transformers") -> Qwen:
    """Returns the grid of Qwen2.5-VL: tokens of 28 x 28 pixels and two frames.

    Args:
        height, width: the size of the video in pixels.
        rounding: ``"transformers"``: its Qwen2VLVideoProcessor with default settings;
            ``"transformers_capped"``: the same with cap_pixels_per_frame; ``"qwen_vl_utils"``:
            fetch_video of the package of that name.
    """
    return Qwen(height, width, 28, rounding, per_video=False)


def qwen3_vl(
    height: int, width: int, rounding: Rounding = "transformers", most: int = 24_576
) -> Qwen:
    """Returns the grid of Qwen3-VL: tokens of 32 x 32 pixels and two frames.

    The processor of transformers bounds the pixels of all frames together.

    Args:
        height, width: the size of the video in pixels.
        rounding: see ``qwen25_vl``.
        most: this bound in units of 1024 pixels; the bound is the processor's
            ``size["longest_edge"]``. (The default of its class is 768 times 1024.)
    """
    most = checked_count("most", most, 1)
    return Qwen(height, width, 32, rounding, per_video=True, most=most)
