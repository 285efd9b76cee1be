"""The main job: turns a video into the tokens of what changed.

video.py     tokenize(): opens the video, fits a gate to it, collects the tokens
fitting.py   the gate that fits a tower or a size
options.py   the gate's rules among the options
frames.py    the stages in a row, a batch of frames at a time
surfaces.py  the same on surfaces borrowed from NVDEC, before it writes over them
features.py  the features of kept cells: their own pixels, or what a tower makes of them
collect.py   all chunks in one container
prefetch.py  a thread that works ahead
tubelets.py  cuts batches at whole tubelets
stages.py    measures the time of each stage, and shares out the cores
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
