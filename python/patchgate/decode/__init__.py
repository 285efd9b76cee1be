"""Decoding: a video file in, FrameBatch after FrameBatch of native YUV planes out.

frames.py   FrameBatch, Colour, Problems: what any back end gives
timeline.py time stamps, start/end, fps: generators over any back end's pictures
source.py   paths, bytes and file objects, and errors on opening
pyav.py     the CPU reader; planes.py its copy into tensors; pool.py their memory
nvdec.py    the GPU's decoder; capabilities.py what it can do; decoder_pool.py used again
surface.py  its pictures, on loan; surface_reader.py reads them, surface_packer.py copies them;
            bitstream.py packets as it wants them
video.py    Video, run.py one iteration of it; opening.py open_video
"""

from .frames import Colour, DecodeError, DecodeWarning, FrameBatch, Problems
from .limits import Limits
from .nvdec import NvdecError, NvdecUnavailable
from .opening import open_video
from .video import Video

__all__ = ["Colour", "DecodeError", "DecodeWarning", "FrameBatch", "Limits", "NvdecError",
           "NvdecUnavailable", "Problems", "Video", "open_video"]  # fmt: skip
