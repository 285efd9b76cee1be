"""Decoding on a GPU with NVDEC: pictures stay on the device, on loan from the decoder.

decoder.py         PyNvVideoCodec, loaded when it is needed; capabilities.py what it can do
decoder_pool.py    decoders used again
surface.py         Surface: one picture, borrowed from the decoder; Loan: when it is shown
surface_reader.py  reads a video as surfaces; surface_packer.py copies them into batches

Packets are brought into the decoder's form by ``decode.bitstream``.
"""

from .decoder import NvdecError, NvdecUnavailable

__all__ = ["NvdecError", "NvdecUnavailable"]
