"""Decoding: a video file in, FrameBatch after FrameBatch of native YUV planes out.

opening.py    open_video; video.py Video, iteration.py one iteration of it
frames.py     FrameBatch, Colour, Problems: what any back end gives
timeline.py   time stamps, start/end, fps: generators over any back end's pictures
source/       paths, bytes, file objects and addresses: how each is opened, or why not
pyav.py       the CPU reader; planes.py what can be told of its frames; packer.py its copy into
              tensors; pool.py their memory
nvdec/        the GPU's decoder: pictures that stay on the device
bitstream.py  packets as hardware decoders want them, and what in them says how the pictures look
changes.py    what is said where the picture changes in the middle of a video
clock.py      A stream's clock, and time stamps on it that always rise
description.py what an opened video tells of itself
entry.py      where decoding may begin
feed.py       one stream's packets: read on, gone back to, by number
ledger.py     packets in, pictures out: which packet a picture came from, and which gave none
limits.py     what a video may ask for: so that no small file can ask for gigabytes, or for ever
listing.py    which pictures a video shows and when, decoding as little as can be
memory.py     whether there is memory left: FFmpeg's errors do not tell a lack of it from damage
openings.py   the readers of one `Video`: the first, which waits to be read
orientation.py how a picture is to be turned, by what lies beside its samples
promises.py   what a container promises of its end, and whether it was kept
"""

from .frames import Colour, DecodeError, DecodeWarning, FrameBatch, Problems
from .limits import Limits
from .nvdec import NvdecError, NvdecUnavailable
from .opening import open_video
from .video import Video

__all__ = ["Colour", "DecodeError", "DecodeWarning", "FrameBatch", "Limits", "NvdecError",
           "NvdecUnavailable", "Problems", "Video", "open_video"]  # fmt: skip
