"""What a rendered clip shows, exactly: every string and shape, when and where.

Letters: T frames, H W pixels, n the frames of one item.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# Without 0 O 1 I, which some of the fonts draw alike: an answer must be exact.
LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
DIGITS = "0123456789"  # all that a SMALL clip says: its reader learns in minutes
SIGNS = "+-="  # beside letters in formulas and code
ALPHABET = LETTERS + SIGNS  # of SCREEN clips
NUMERALS = DIGITS + SIGNS  # of SMALL ones
LONGEST = 8  # characters of a text item
SHAPES = ("disc", "ring", "cross", "triangle", "square", "fork")

Size = tuple[int, int]  # (H, W) in pixels
SCREEN: Size = (352, 640)  # what PP-OCR reads
SMALL: Size = (256, 256)  # what the ViT reader takes: 16 x 16 patches of 16 pixels

Split = Literal["train", "validation", "test"]
Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


@dataclass(frozen=True)
class Item:
    """One string (without blanks) or shape over the frames in which it is shown."""

    text: str  # what it says; a shape: its name
    kind: Literal["text", "shape"]
    group: str  # what makes it hard: results are reported by group
    first: int  # the frame of boxes[0]
    boxes: NDArray[np.float32]  # [n, 4] left, top, right, bottom in pixels
    visible: NDArray[np.bool_]  # [n] whole in the picture, nothing in front, contrast to read by
    glyphs: NDArray[np.float32]  # [characters, 4] ink of each glyph, as fractions of the box

    def __post_init__(self) -> None:
        assert self.boxes.shape == (len(self.visible), 4), (self.text, self.boxes.shape)
        assert self.kind == "shape" or (
            set(self.text) <= set(ALPHABET + DIGITS) and 0 < len(self.text) <= LONGEST
        ), self.text

    def at(self, frame: int) -> Box | None:
        """Its box in a frame; None if it is not there or not to be read."""
        index = frame - self.first
        if not 0 <= index < len(self.boxes) or not self.visible[index]:
            return None
        left, top, right, bottom = self.boxes[index].tolist()
        return left, top, right, bottom


@dataclass(frozen=True)
class Clip:
    """A rendered clip and everything that is true of it."""

    scene: str  # the key in scenes.SCENES
    split: Split
    seed: int
    fps: int
    frames: NDArray[np.uint8]  # [T, H, W, 3] RGB as rendered, before coding
    items: tuple[Item, ...]

    @property
    def name(self) -> str:
        """Unique among clips of one size."""
        return f"{self.scene}-{self.split}-{self.seed}"

    @property
    def size(self) -> Size:
        """``(H, W)``."""
        return self.frames.shape[1], self.frames.shape[2]

    def without_frames(self) -> "Clip":
        """The truth alone."""
        return replace(self, frames=self.frames[:0])
