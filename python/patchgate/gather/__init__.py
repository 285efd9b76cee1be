"""Gather does a processor's work (convert, resize, normalise) for the kept cells only.

rows.py          gather(): kept cells of decoded frames as a tower's patch rows
pixel_spec.py    PixelSpec: what a processor does to a frame, as plain data
hf_processor.py  reads a PixelSpec from a processor of transformers
resize.py        how large a frame becomes
"""

from patchgate.gather.pixel_spec import PixelSpec
from patchgate.gather.resize import (
    Keep,
    PatchBudget,
    PixelRange,
    ShortestEdge,
    Stretch,
    VideoPixelRange,
)
from patchgate.gather.rows import gather, rgb_frames

__all__ = [
    "Keep",
    "PatchBudget",
    "PixelRange",
    "PixelSpec",
    "ShortestEdge",
    "Stretch",
    "VideoPixelRange",
    "gather",
    "rgb_frames",
]
