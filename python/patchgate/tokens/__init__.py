"""The packed container of a video's tokens.

video_tokens.py  VideoTokens; handling.py what tensors can, too; notebook.py what a notebook shows
batch.py         TokenBatch: several videos' tokens
layout.py        the grid that tokens stand for; where each frame's tokens begin
chunk.py         TokenChunk: the tokens of a few consecutive frames, joined and split
reconstruct.py   rebuilds the video from tokens of pixels
file.py          tokens as a safetensors file; spill.py writes one as tokens come
vectors.py       writes one vector a frame as they come
parts.py         a safetensors file that is written piece by piece
check.py         which fields make valid ``VideoTokens``
"""

from patchgate.tokens.batch import TokenBatch, collate
from patchgate.tokens.chunk import TokenChunk
from patchgate.tokens.layout import TokenLayout, TokenShape, cu_seqlens, layout_of, spans
from patchgate.tokens.video_tokens import VideoTokens

__all__ = [
    "TokenBatch",
    "TokenChunk",
    "TokenLayout",
    "TokenShape",
    "VideoTokens",
    "collate",
    "cu_seqlens",
    "layout_of",
    "spans",
]
