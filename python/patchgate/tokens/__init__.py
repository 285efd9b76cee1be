"""The packed container of a video's tokens.

video_tokens.py  VideoTokens; handling.py what tensors can, too; notebook.py what a notebook shows
dense.py         every cell's features from those of the tokens
batch.py         TokenBatch: several videos' tokens
layout.py        the grid that tokens stand for; where each frame's tokens begin
blend.py         the tokens under each pixel, and what a cell shows that lies over several
chunk.py         TokenChunk: the tokens of a few consecutive frames, joined and split
reconstruct.py   rebuilds the video from tokens of pixels
file.py          tokens as a safetensors file; spill.py writes one as tokens come
vectors.py       writes one vector a frame as they come
parts.py         a safetensors file that is written piece by piece
check.py         which fields make valid ``VideoTokens``; check_layout.py their place on pixels
"""

from patchgate.tokens.batch import TokenBatch, collate
from patchgate.tokens.chunk import TokenChunk
from patchgate.tokens.layout import (
    TokenGrid,
    TokenLayout,
    TokenShape,
    cu_seqlens,
    grid_of,
    layout_of,
    spans,
)
from patchgate.tokens.video_tokens import VideoTokens

__all__ = [
    "TokenBatch",
    "TokenChunk",
    "TokenGrid",
    "TokenLayout",
    "TokenShape",
    "VideoTokens",
    "collate",
    "cu_seqlens",
    "grid_of",
    "layout_of",
    "spans",
]
