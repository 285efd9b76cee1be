"""Decoding on a GPU with NVDEC: pictures stay in the decoder's memory, which it lends.

decoder.py         PyNvVideoCodec, loaded when it is needed; capabilities.py what it can decode
decoder_pool.py    keeps decoders for the next video
surface.py         Surface: a picture in the decoder's memory; BorrowedPicture: when it is shown
surface_reader.py  reads a video as surfaces; surface_packer.py copies them into batches

``decode.bitstream`` converts packets for the decoder.
"""

from .decoder import NvdecError, NvdecUnavailable

__all__ = ["NvdecError", "NvdecUnavailable"]
