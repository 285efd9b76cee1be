"""Decoding: a video file in, FrameBatch after FrameBatch of native YUV planes out.

opening.py      open_video; video.py Video, iteration.py one iteration of it
openings.py     the readers of one Video: the first of them waits to be read
frames.py       FrameBatch, Colour, Problems: what any back end gives
timeline.py     time stamps, start/end, fps: generators over any back end's pictures
limits.py       what a video may ask for: no small file can ask for gigabytes, or for ever
source/         paths, bytes, file objects and addresses: how each is opened, or why not
packets/        one stream's packets: their order, their clock, and which gave a picture
pyav.py         the CPU reader; planes.py what can be told of its frames; packer.py its copy into
                tensors; pool.py their memory; memory.py a lack of it told from damage
nvdec/          the GPU's decoder: pictures that stay on the device
bitstream.py    packets as hardware decoders want them, and what they say of the pictures
description.py  what an opened video tells of itself
ffmpeg.py       PyAV, imported when something is first decoded
orientation.py  how a picture is to be turned, by the data beside its samples
changes.py      what is said where the picture changes in the middle of a video
"""

from .frames import Colour, DecodeError, DecodeWarning, FrameBatch, Problems
from .limits import Limits
from .nvdec import NvdecError, NvdecUnavailable
from .opening import open_video
from .video import Video

__all__ = ["Colour", "DecodeError", "DecodeWarning", "FrameBatch", "Limits", "NvdecError",
           "NvdecUnavailable", "Problems", "Video", "open_video"]  # fmt: skip
