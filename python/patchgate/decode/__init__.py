"""Decoding: a video file in, FrameBatch after FrameBatch of native YUV planes out.

opening.py    open_video; video.py Video, iteration.py one iteration of it
frames.py     FrameBatch, Colour, Problems: what any back end gives
timeline.py   time stamps, start/end, fps: generators over any back end's pictures
source/       paths, bytes, file objects and addresses: how each is opened, or why not
pyav.py       the CPU reader; planes.py what can be told of its frames; packer.py its copy into
              tensors; pool.py their memory
nvdec/        the GPU's decoder: pictures that stay on the device
"""

from .frames import Colour, DecodeError, DecodeWarning, FrameBatch, Problems
from .limits import Limits
from .nvdec import NvdecError, NvdecUnavailable
from .opening import open_video
from .video import Video

__all__ = ["Colour", "DecodeError", "DecodeWarning", "FrameBatch", "Limits", "NvdecError",
           "NvdecUnavailable", "Problems", "Video", "open_video"]  # fmt: skip
