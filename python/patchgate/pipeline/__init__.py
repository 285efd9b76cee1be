"""The main job: a video in, the tokens of what changed out.

video.py     tokenize(): opens the video, fits a gate to it, collects
frames.py    the stages in a row, a batch of frames at a time; surfaces.py the same on a decoder's
             surfaces, before they are written over
features.py  what becomes of kept cells: their own pixels, or a tower's features
fitting.py   the gate that fits a tower or a size; options.py the gate's rules among the options
collect.py   the chunks in one container
prefetch.py  a thread that works ahead; tubelets.py frames in whole tubelets; stages.py their time
"""

from patchgate.pipeline.frames import FrameSource, token_chunks
from patchgate.pipeline.stages import StageSeconds, spare_threads
from patchgate.pipeline.video import tokenize
from patchgate.tokens.chunk import TokenChunk

__all__ = [
    "FrameSource",
    "StageSeconds",
    "TokenChunk",
    "spare_threads",
    "token_chunks",
    "tokenize",
]
