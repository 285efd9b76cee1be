"""Decoding: a video file in, FrameBatch after FrameBatch of native YUV planes out.

frames.py   FrameBatch, Colour, Problems: what any back end gives
timeline.py time stamps, start/end, fps: generators over any back end's pictures
source.py   paths, bytes and file objects, and errors on opening
pyav.py     the CPU reader; planes.py its copy into tensors; pool.py their memory
video.py    open_video and Video
"""

from .frames import Colour, DecodeError, DecodeWarning, FrameBatch, Problems
from .video import Video, open_video

__all__ = ["Colour", "DecodeError", "DecodeWarning", "FrameBatch", "Problems", "Video",
           "open_video"]  # fmt: skip
