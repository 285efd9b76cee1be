"""Decoding on a GPU with NVDEC: pictures stay on the device, on loan from the decoder.

decoder.py         PyNvVideoCodec, loaded when it is needed; capabilities.py what it can do
decoder_pool.py    decoders used again
bitstream.py       packets as the decoder wants them
surface.py         one picture on loan; surface_reader.py reads them, surface_packer.py copies them
"""

from .decoder import NvdecError, NvdecUnavailable

__all__ = ["NvdecError", "NvdecUnavailable"]
