"""What a GPU's decoder can decode; it is asked once."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from .decoder import CODECS, Backend, Kind, NvdecUnavailable, explained
from .surface import Coded

_PIXELS = {"yuv420p": 8, "yuvj420p": 8, "yuv420p10le": 10, "yuv420p12le": 12}


class Capability(NamedTuple):
    """What the decoder can decode of one codec and bit depth, 4:2:0."""

    supported: bool
    width: tuple[int, int]  # least and most, in pixels
    height: tuple[int, int]
    macroblocks: int  # 16 x 16 pixels, at most
    engines: int


@lru_cache
def capability(backend: Backend, codec: str, bit_depth: int) -> Capability:
    """Asks the device. Answers are cached, because each question makes a CUDA context.

    Raises:
        NvdecUnavailable: the device cannot be asked.
    """
    nvc = backend.nvc
    chroma = nvc.cudaVideoChromaFormat.__members__["420"]
    try:
        said = nvc.GetDecoderCaps(backend.device.index or 0, getattr(
            nvc.cudaVideoCodec, CODECS[codec]), chroma, bit_depth)  # fmt: skip
    except Exception as error:
        raise explained(error, NvdecUnavailable) from error
    return Capability(
        bool(said["supported"]),
        (said["width_min"], said["width_max"]),
        (said["height_min"], said["height_max"]),
        said["mb_num_max"],
        said.get("num_decoder_engines", 1),
    )


def kind_of(codec: str, coded: Coded, headers: bytes) -> Kind:
    """Returns the kind of decoder that pictures of a sequence with such headers need."""
    return Kind(codec, coded.format.width, coded.format.height, coded.colour.bit_depth, headers)


def why_not(backend: Backend, codec: str, coded: Coded) -> str | None:
    """Says why NVDEC cannot decode such pictures, to follow "because"; None if it can."""
    own = coded.format
    if codec not in CODECS:
        return f"NVDEC is not used here for {codec}, only for {', '.join(CODECS)}"
    if own.pixels not in _PIXELS:
        return f"NVDEC is used here for 4:2:0 video of 8, 10 or 12 bit, and this is {own.pixels}"
    if coded.interlaced:
        return "it is interlaced, and NVDEC would make whole frames of its fields"
    can = capability(backend, codec, _PIXELS[own.pixels])
    what = f"{codec} of {_PIXELS[own.pixels]} bit"
    if not can.supported:
        return f"this GPU's decoder has no {what}"
    blocks = -(-own.width // 16) * -(-own.height // 16)
    fits = all(least <= side <= most for side, (least, most) in
               ((own.width, can.width), (own.height, can.height)))  # fmt: skip
    if not fits or blocks > can.macroblocks:
        return (
            f"this GPU's decoder takes {what} from {can.width[0]}x{can.height[0]} to "
            f"{can.width[1]}x{can.height[1]} with at most {can.macroblocks} macroblocks, and this "
            f"is {own.width}x{own.height} ({blocks})"
        )
    return None
