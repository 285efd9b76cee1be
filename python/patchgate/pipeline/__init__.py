"""The main job: turns a video into the tokens of what changed.

video.py     tokenize(): opens the video, fits a gate to it, collects the tokens
embedding.py embed(): one vector a frame
fitting.py   the gate that fits a tower or a size
options.py   separates the gate's rules from the options of open_video
tokenizer.py Tokenizer: frames in as they come, and their tokens out; saved_tokenizer.py its state
several.py   push_together(): several tokenizers in one pass through their tower
given.py     frames that are in memory already, as batches with times
frames.py    runs all stages over a video; chunker.py makes the tokens of a batch of frames
surfaces.py  runs them on surfaces borrowed from NVDEC, before it overwrites them
features.py  the features of kept cells: their own pixels, or a tower's features
collect.py   collects all chunks in one container
prefetch.py  a thread that works ahead
tubelets.py  cuts batches at whole tubelets
stages.py    measures the time of each stage, and shares the cores among them
"""

from patchgate.pipeline.embedding import Embedding, embed
from patchgate.pipeline.frames import FrameSource, token_chunks
from patchgate.pipeline.several import push_together
from patchgate.pipeline.stages import StageSeconds, spare_threads
from patchgate.pipeline.tokenizer import Tokenizer
from patchgate.pipeline.video import tokenize
from patchgate.tokens.chunk import TokenChunk

__all__ = [
    "Embedding",
    "FrameSource",
    "StageSeconds",
    "TokenChunk",
    "Tokenizer",
    "embed",
    "push_together",
    "spare_threads",
    "token_chunks",
    "tokenize",
]
