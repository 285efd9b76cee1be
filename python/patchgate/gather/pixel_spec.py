"""PixelSpec: what a tower's processor does to a frame, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from patchgate._check import (
    checked_choice,
    checked_count,
    checked_number,
    checked_size,
    checked_switch,
    settle,
)
from patchgate.gather.hf_processor import read_processor
from patchgate.gather.resize import Filter, FirstPass, SizeRule, Stretch, VideoPixelRange
from patchgate.grid import Placement

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class PixelSpec:
    """How a frame becomes a tower's patch rows: size, crop, filter, normalisation, order.

    Args:
        size: a size rule of ``patchgate.gather`` (``Stretch``, ``ShortestEdge``, ``PixelRange``,
            ``PatchBudget``, ``Keep``), or ``(H, W)`` or one number in pixels for ``Stretch``.
        mean, std: three numbers each, for R, G and B: a u8 value x becomes
            ``(x * rescale - mean) / std``.
        patch: the patch side in pixels.
        merge: the number of patches per side of a cell (Qwen-VL: 2). Rows come cell by cell.
        temporal_patch: the number of frames of a patch (Qwen-VL: 2).
        crop: ``(H, W)``, cut from the middle after resizing. Beyond the picture it is black.
        filter: the filter of the resize, antialiased, as Pillow defines it.
        rescale: the number by which u8 values are multiplied first.
        channels_last: rows are (P, P, C) as in SigLIP2, not (C, f, P, P) as in a convolution.
        first_pass: the pass with which the resize begins. With ``"horizontal"``, it is that of
            Pillow before 13 and of torchvision. With ``"pillow13"``, it is the vertical one if a
            frame loses many more rows than columns. Sharp edges overshoot and are clamped between
            the passes, so that the order can matter by 20 of 255.

    Raises:
        TypeError, ValueError: a setting makes no sense.
    """

    size: SizeRule
    mean: Triple
    std: Triple
    patch: int
    merge: int = 1
    temporal_patch: int = 1
    crop: tuple[int, int] | None = None
    filter: Filter = "bicubic"
    rescale: float = 1 / 255
    channels_last: bool = False
    first_pass: FirstPass = "horizontal"

    def __post_init__(self) -> None:
        if not isinstance(self.size, SizeRule):
            settle(self, size=Stretch(*checked_size("size", self.size, 1)))
        if self.crop is not None:
            settle(self, crop=checked_size("crop", self.crop, 1))
        settle(self, mean=_triple("mean", self.mean), std=_triple("std", self.std))
        if not all(value > 0 for value in self.std):
            raise ValueError(f"std: expected more than 0 per channel, got {self.std}")
        for name in ("patch", "merge", "temporal_patch"):
            settle(self, **{name: checked_count(name, getattr(self, name), 1)})
        settle(
            self,
            filter=checked_choice("filter", self.filter, get_args(Filter)),
            first_pass=checked_choice("first_pass", self.first_pass, get_args(FirstPass)),
            rescale=checked_number("rescale", self.rescale, -1e6, 1e6, ""),
            channels_last=checked_switch("channels_last", self.channels_last),
        )

    @property
    def cell(self) -> int:
        """Side of a cell in pixels."""
        return self.patch * self.merge

    def place(self, height: int, width: int) -> tuple[Placement, Placement]:
        """Returns where the resized picture lies on the tower's input, down and across.

        The input has whole patches only: as in a convolution, the rest at the bottom and right is
        not used.

        Raises:
            ValueError: the input has no whole cell, or ends inside a cell of several patches.
        """
        resized = self.size.target(height, width, self.cell)
        crop = self.crop or resized
        sizes = [side // self.patch * self.patch for side in crop]
        if any(side == 0 or side % self.cell for side in sizes):
            raise ValueError(
                f"frames of {height} x {width} become {crop[0]} x {crop[1]} pixels, which are not "
                f"whole cells of {self.cell} pixels (patch {self.patch}, merge {self.merge})"
            )
        down, across = (
            Placement(whole, (whole - cut) // 2, side)
            for whole, cut, side in zip(resized, crop, sizes, strict=True)
        )
        return down, across

    def cells(self, height: int, width: int) -> tuple[int, int]:
        """Returns ``(h, w)``, the cells of a frame down and across."""
        down, across = self.place(height, width)
        return down.size // self.cell, across.size // self.cell

    def vertical_first(self, height: int, width: int) -> bool:
        """Whether a frame is resized vertically first."""
        if self.first_pass == "horizontal":
            return False
        h, w = self.size.target(height, width, self.cell)
        # Pillow 13's own rule; found by trying, and tested against the installed one.
        return height - h > 2 * max(width - w, 0)

    @classmethod
    def from_processor(
        cls,
        processor: Any,
        patch: int | None = None,
        merge: int | None = None,
        temporal_patch: int | None = None,
        frames: int | None = None,
    ) -> PixelSpec:
        """Reads the ``PixelSpec`` of a Hugging Face processor.

        Args:
            processor: a SigLIP, SigLIP2, CLIP, ViT, DINOv2 (Bit), Gemma 3, InternVL (GotOcr2) or
                Qwen2-VL image processor, the video processor of Qwen2-VL (which Qwen2.5-VL has,
                too), Qwen3-VL, LLaVA-OneVision or InternVL, or an object that holds one, such as a
                ``Qwen3VLProcessor``; its video processor is preferred. The resize is always
                Pillow's, in the installed version's order.
            patch, merge, temporal_patch: the tower's, if the processor does not know them.
            frames: the number of frames of the video, for processors that resize a frame by it:
                Qwen3-VL's, and Qwen2-VL's with ``cap_pixels_per_frame``. None: ``tokenize``,
                ``embed`` and ``language.prepare`` count the frames of each video. A ``Tokenizer``
                cannot, because it does not know how many will come.

        Raises:
            ValueError: the processor or one of its settings is not known here. Nothing is guessed:
                make a ``PixelSpec`` by hand.
        """
        settings = read_processor(processor)
        if frames is not None and isinstance(settings["size"], VideoPixelRange):
            settings["size"] = settings["size"].of_frames(frames)
        for name, given in (("patch", patch), ("merge", merge), ("temporal_patch", temporal_patch)):
            if given is not None and settings.setdefault(name, given) != given:
                raise ValueError(f"{name}: the processor says {settings[name]}, got {given}")
        if "patch" not in settings:
            raise ValueError(
                f"patch: {type(processor).__name__} does not know the tower's patch side; pass "
                "patch=tower.config.patch_size"
            )
        return cls(**settings)


def _triple(name: str, values: Any) -> Triple:
    values = tuple(values) if isinstance(values, Iterable) else (values,) * 3
    if len(values) != 3:
        raise ValueError(f"{name}: expected three channels, got {values}")
    r, g, b = (checked_number(name, value, -1e6, 1e6, "per channel") for value in values)
    return r, g, b
