"""Decoding: a video file in, FrameBatch after FrameBatch of native YUV planes out.

opening.py      open_video; video.py Video, iteration.py one iteration of it
openings.py     the readers of one Video: the first of them waits to be read
batch.py        FrameBatch: the output of every back end; pictures.py frames that are in memory
                already, as its planes
frames.py       Colour, Problems: what is said of frames
timeline.py     time stamps, start/end, fps: generators over any back end's pictures
limits.py       what a video may ask for, so that no small file takes gigabytes or days
source/         paths, bytes, file objects and addresses: how each is opened, or why not
packets/        one stream's packets: their order, their clock, and which gave a picture
pyav.py         the CPU reader; planes.py the format of its frames; packer.py copies them into
                tensors; pool.py memory of these; memory.py tells a lack of memory from damage
nvdec/          the GPU's decoder: pictures that stay on the device
bitstream.py    packets in the form that hardware decoders need, and the headers in them
description.py  the attributes of an opened video
ffmpeg.py       PyAV, imported when something is first decoded
orientation.py  how a picture must be turned before it is shown
changes.py      the warning about a picture that changes in the middle of a video
"""

from .batch import FrameBatch
from .frames import Colour, DecodeError, DecodeWarning, Problems
from .limits import Limits
from .nvdec import NvdecError, NvdecUnavailable
from .opening import open_video
from .video import Video

__all__ = ["Colour", "DecodeError", "DecodeWarning", "FrameBatch", "Limits", "NvdecError",
           "NvdecUnavailable", "Problems", "Video", "open_video"]  # fmt: skip
