"""NVDEC, through PyNvVideoCodec's core decoder: it takes packets and returns borrowed surfaces.

Its higher classes are not used: SimpleDecoder returns times of decoding as times of showing, and
invents them in MKV and VFR files. The first ``open_video(device="cuda")`` imports the package, not
earlier, because importing it needs the driver.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .surface import CudaStream, Surface

_OLDEST = (2, 2, 4)  # in older versions, 16-bit surfaces have wrong strides
_VIDEO = (
    "the driver's video libraries ({library}) are missing. In a container, start it with "
    "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video (docker run --gpus all -e ...); elsewhere "
    "install the driver's decode and encode libraries (Debian, Ubuntu: libnvidia-decode-<driver> "
    "and libnvidia-encode-<driver>)"
)

# FFmpeg's name -> cudaVideoCodec. PyAV decodes MPEG-4 part 2, VC-1 and MJPEG.
CODECS = {"h264": "H264", "hevc": "HEVC", "vp8": "VP8", "vp9": "VP9", "av1": "AV1",
          "mpeg1video": "MPEG1", "mpeg2video": "MPEG2"}  # fmt: skip


class NvdecUnavailable(RuntimeError):
    """NVDEC cannot be used on this machine or in this process; the message says what to do."""


class NvdecError(RuntimeError):
    """NVDEC refused a packet. This decoder is not used again."""


class Kind(NamedTuple):
    """Decoders of one kind can replace each other."""

    codec: str  # FFmpeg's name
    width: int
    height: int
    bit_depth: int
    headers: bytes = b""  # those of the sequence: the number of pictures to hold depends on them


@dataclass(eq=False)
class Backend:
    """PyNvVideoCodec on one device."""

    nvc: Any  # the module
    device: torch.device
    process: int = field(default_factory=os.getpid)

    def check_process(self) -> None:
        """Raises ``NvdecUnavailable`` in a fork of the process that loaded it: CUDA fails there."""
        if os.getpid() != self.process:
            raise NvdecUnavailable(
                "this video was opened before the process was forked, and CUDA does not work in a "
                'fork; start workers with multiprocessing\'s "spawn" (DataLoader: '
                'multiprocessing_context="spawn") and open videos in them'
            )

    def memory(self, pointer: int, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """Returns device memory at an address as a tensor ``[rows, W]``, without a copy."""
        return torch.as_tensor(_Pointer(pointer, shape, dtype), dtype=dtype, device=self.device)


class _Pointer:
    """An address with the CUDA array interface (version 3)."""

    def __init__(self, pointer: int, shape: tuple[int, int], dtype: torch.dtype) -> None:
        self.__cuda_array_interface__ = {
            "data": (pointer, False),
            "shape": shape,
            "typestr": "|u1" if dtype == torch.uint8 else "<u2",
            "strides": None,
            "version": 3,
        }


class Decoder:
    """One decoder, on a stream of its own. After any exception, it must not be used again.

    Its memory on the device holds the codec's reference pictures and a few in flight: up to 20
    pictures of 1.5 samples a pixel (1920 x 1080, 8 bit: 62 MB), and one more for each picture of a
    packet.
    """

    def __init__(self, backend: Backend, kind: Kind) -> None:
        self.kind, self.turn, self._backend = kind, 0, backend
        self.cuda_stream = CudaStream(backend.device)
        nvc = backend.nvc
        try:
            self._decoder = nvc.CreateDecoder(
                gpuid=backend.device.index or 0,
                codec=getattr(nvc.cudaVideoCodec, CODECS[kind.codec]),
                cudacontext=0,  # the primary context, which torch uses
                cudastream=self.cuda_stream.handle,
                usedevicememory=True,
            )
        except Exception as error:  # its own errors derive only from Exception
            raise explained(error, NvdecError) from error

    def decode(self, packet: Any, serial: int) -> list[Surface]:
        """Decodes a packet, and returns the pictures that it completes, in the order of showing.

        All earlier surfaces become invalid.

        Args:
            packet: has ``buffer_ptr`` and ``buffer_size``, as in PyAV; None: return all that are
                left.
            serial: the packet's number; a picture has the number of its own packet.
        """
        self.turn += 1
        data = self._backend.nvc.PacketData()
        data.bsl, data.bsl_data = (0, 0) if packet is None else _buffer(packet)
        data.pts = data.dts = serial
        try:
            frames = self._decoder.Decode(data)
            with self.cuda_stream.running():  # DLPack makes the current stream wait: here, itself
                return [self._surface(frame) for frame in frames]
        except Exception as error:
            raise explained(error, NvdecError) from error

    def close(self) -> None:
        """Frees its memory; all reads of it must have finished."""
        self.turn += 1
        self.cuda_stream.synchronize()
        self._decoder = None

    def _surface(self, frame: Any) -> Surface:
        _, width, height, bits, _ = self.kind
        memory = torch.from_dlpack(frame)
        wide = width + width % 2
        if list(memory.shape) != [height * 3 // 2, wide]:
            raise NvdecError(
                f"it returned a surface of {list(memory.shape)} rows and samples for a picture of "
                f"{width} x {height}"
            )
        if height % 2:  # its shape lacks the last row of chroma, which is in memory
            rows = height + (height + 1) // 2
            memory = self._backend.memory(frame.GetPtrToPlane(0), (rows, wide), memory.dtype)
        if memory.dtype != (torch.uint8 if bits == 8 else torch.uint16):
            raise NvdecError(f"it returned {memory.dtype} for {bits}-bit video")
        return Surface(memory, width, height, frame.getPTS(), self)


def _buffer(packet: Any) -> tuple[int, int]:
    return packet.buffer_size, packet.buffer_ptr


def backend(device: torch.device) -> Backend:
    """Returns NVDEC of a CUDA device.

    Raises:
        NvdecUnavailable: it cannot be used; the message says what to do.
    """
    _check_cuda(device)
    index = torch.cuda.current_device() if device.index is None else device.index
    return _load(torch.device("cuda", index))


@lru_cache
def _load(device: torch.device) -> Backend:
    """Loads it, once for each device; errors are not cached."""
    try:
        nvc = _package()
    except ModuleNotFoundError as error:
        if error.name != "PyNvVideoCodec":
            raise explained(error, NvdecUnavailable) from error
        raise NvdecUnavailable(
            'decoding on the GPU needs PyNvVideoCodec: pip install "PyNvVideoCodec>=2.2.4" '
            '(or "patchgate[cuda]")'
        ) from error
    except Exception as error:  # RuntimeError without the driver's libraries
        raise explained(error, NvdecUnavailable) from error
    _check_version()
    return Backend(nvc, device)


def _package() -> Any:
    return importlib.import_module("PyNvVideoCodec")


def _check_cuda(device: torch.device) -> None:
    if torch.cuda._is_in_bad_fork():
        raise NvdecUnavailable(
            "CUDA was used before this process was forked, and does not work in a fork; start "
            'workers with multiprocessing\'s "spawn" (DataLoader: multiprocessing_context="spawn")'
        )
    if not torch.backends.cuda.is_built():
        raise NvdecUnavailable(
            f'open_video(device="{device}"): this PyTorch ({torch.__version__}) is built without '
            'CUDA; install one with it, or use device="cpu"'
        )
    if not torch.cuda.is_available():
        raise NvdecUnavailable(
            f'open_video(device="{device}"): no CUDA device can be used; check the NVIDIA driver '
            'with nvidia-smi (in a container: --gpus all), or use device="cpu"'
        )
    if (device.index or 0) >= torch.cuda.device_count():
        raise NvdecUnavailable(
            f"there is no {device}: this machine has {torch.cuda.device_count()} CUDA device(s)"
        )


def _check_version() -> None:
    version = importlib.metadata.version("PyNvVideoCodec")
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if numbers < _OLDEST:
        raise NvdecUnavailable(
            f"PyNvVideoCodec {version} is too old: pip install --upgrade "
            f'"PyNvVideoCodec>={".".join(map(str, _OLDEST))}"'
        )


def explained(error: Exception, kind: type[RuntimeError]) -> RuntimeError:
    """Makes an error that says what to do from one of the package's."""
    text = str(error)
    library = re.search(r"lib(nvidia-encode|nvcuvid|cuda)\.so[.\d]*", text)
    if library is None:
        return kind(f"PyNvVideoCodec: {text.strip() or type(error).__name__}")
    if library[1] == "cuda":
        return NvdecUnavailable(
            f"the NVIDIA driver ({library[0]}) is missing: install it, or in a container start it "
            "with --gpus all"
        )
    return NvdecUnavailable(_VIDEO.format(library=library[0]))
