"""PyNvVideoCodec without a GPU: the names that we use of it, over PyAV, on CPU tensors.

It does what was seen of the real one (2.2.4): pictures come out in the order of showing, some calls
late and then several at once; each call writes over the surfaces of the call before, which are
poisoned here first; deep samples sit in the high bits; widths are made even, and of an odd height
the DLPack shape lacks the last row of chroma; a sequence of another size is scaled to the first
one; a packet of no bytes gives what is left, and after it the decoder begins anew.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from patchgate.decode.nvdec.decoder import CODECS, Backend
from patchgate.decode.nvdec.surface import CudaStream

POISON = 173  # of every byte of a surface that was taken back
CPU = torch.device("cpu")


class PyNvVCException(Exception):
    """Not a RuntimeError: neither is the real one."""


class FakeNvc:
    """The module. ``refuse``: packets, counted over all decoders, at which it raises. ``held``:
    pictures that wait inside a decoder; at least ``burst`` come at once."""

    cudaVideoCodec = SimpleNamespace(**{name: ffmpeg for ffmpeg, name in CODECS.items()})
    cudaVideoChromaFormat = SimpleNamespace(__members__={"420": 1})

    def __init__(self) -> None:
        self.decoders: list[FakeDecoder] = []
        self.asked: list[tuple[Any, ...]] = []  # of GetDecoderCaps
        self.refuse: set[int] = set()
        self.packets = 0
        self.held, self.burst = 4, 2
        self.caps: dict[str, int] = {
            "supported": 1, "width_min": 16, "width_max": 4096, "height_min": 16,
            "height_max": 4096, "mb_num_max": 65536, "num_decoder_engines": 2}  # fmt: skip

    @staticmethod
    def PacketData() -> SimpleNamespace:
        return SimpleNamespace(bsl=0, bsl_data=0, pts=0, dts=0)

    def GetDecoderCaps(self, *question: Any) -> dict[str, int]:
        self.asked.append(question)
        return self.caps

    def CreateDecoder(self, *, gpuid: int, codec: str, cudacontext: int, cudastream: int,
                      usedevicememory: bool) -> FakeDecoder:  # fmt: skip
        assert (gpuid, cudacontext, usedevicememory) == (0, 0, True)
        self.decoders.append(FakeDecoder(codec, self))
        return self.decoders[-1]

    def buffers(self) -> set[int]:
        """The memory of all surfaces, by address."""
        return {memory.ctypes.data for each in self.decoders for memory in each.memory}


class FakeDecoder:
    def __init__(self, codec: str, nvc: FakeNvc) -> None:
        self.codec, self._nvc = codec, nvc
        self.memory: list[np.ndarray] = []  # grows to the most pictures of one call
        self._first: av.VideoFrame | None = None
        self._waiting: deque[av.VideoFrame] = deque()
        self._begin()

    def _begin(self) -> None:
        name = "libdav1d" if self.codec == "av1" else self.codec
        self._context: Any = av.CodecContext.create(name, "r")
        self._context.thread_count = 1
        # Pictures whose references are missing are shown: NVDEC does not know better.
        self._context.options = {"flags": "+output_corrupt", "flags2": "+showall"}

    def Decode(self, data: SimpleNamespace) -> list[FakeFrame]:
        self._poison()
        self._nvc.packets += data.bsl > 0
        if data.bsl and self._nvc.packets in self._nvc.refuse:
            raise PyNvVCException("Codec not supported on this GPU")
        self._waiting.extend(self._pictures(data))
        ready = len(self._waiting)
        if data.bsl:
            ready = max(0, ready - self._nvc.held)
            ready = ready if ready >= self._nvc.burst else 0
        return [FakeFrame(self._written(i), self._waiting.popleft()) for i in range(ready)]

    def _pictures(self, data: SimpleNamespace) -> list[av.VideoFrame]:
        if data.bsl == 0:
            frames = self._context.decode(None)
            self._begin()
            return list(frames)
        packet = av.Packet(ctypes.string_at(data.bsl_data, data.bsl))
        packet.pts = packet.dts = data.pts
        try:
            return list(self._context.decode(packet))
        except av.FFmpegError:
            return []  # the real one prints that there was an error

    def _poison(self) -> None:
        for memory in self.memory:
            memory.view(np.uint8)[...] = POISON

    def _written(self, i: int) -> np.ndarray:
        """The next picture in buffer ``i``: luma, then rows of Cb and Cr in turn."""
        frame = self._waiting[0]
        if self._first is None:
            self._first = frame
        first = self._first
        if (frame.width, frame.height) != (first.width, first.height):
            frame = frame.reformat(first.width, first.height)
        height, width = frame.height, frame.width + frame.width % 2
        surface = np.zeros((height + (height + 1) // 2, width), _dtype(frame))
        y, cb, cr = (_samples(plane, _dtype(frame)) for plane in frame.planes)
        surface[:height, : y.shape[1]] = y
        surface[height:, 0::2], surface[height:, 1::2] = cb, cr
        if surface.dtype == np.uint16:
            surface <<= 16 - frame.format.components[0].bits
        if i == len(self.memory):
            self.memory.append(surface)
        else:
            self.memory[i][...] = surface
        return self.memory[i]

    def __del__(self) -> None:
        self._poison()  # it is freed, whoever looks at it


def _dtype(frame: av.VideoFrame) -> type[np.generic]:
    return np.uint16 if frame.format.components[0].bits > 8 else np.uint8


def _samples(plane: Any, dtype: type[np.generic]) -> np.ndarray:
    return np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width]


class FakeFrame:
    def __init__(self, memory: np.ndarray, frame: av.VideoFrame) -> None:
        self._memory, self._pts = memory, frame.pts
        self._shown = memory[: frame.height * 3 // 2]

    def getPTS(self) -> int:
        return self._pts

    def GetPtrToPlane(self, plane: int) -> int:
        assert plane == 0
        return self._memory.ctypes.data

    def __dlpack__(self, stream: object = 0) -> Any:
        return self._shown.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._shown.__dlpack_device__()


class FakeBackend(Backend):
    """The fake module, on the CPU."""

    def __init__(self) -> None:
        super().__init__(FakeNvc(), CPU)

    def memory(self, pointer: int, shape: tuple[int, int], dtype: torch.dtype) -> torch.Tensor:
        size = shape[0] * shape[1] * dtype.itemsize
        data = (ctypes.c_uint8 * size).from_address(pointer)
        return torch.frombuffer(data, dtype=dtype).view(shape)


class WatchedStream(CudaStream):
    """A stream that says whether it is the current one, and what was asked of it."""

    open = 0  # streams that are current
    said: list[str] = []  # noqa: RUF012

    @contextmanager
    def running(self) -> Iterator[None]:
        type(self).open += 1
        try:
            with super().running():
                yield
        finally:
            type(self).open -= 1

    def follow(self) -> None:
        assert not self.open, "it would follow itself: its own stream is the current one"
        self.said.append("follow")
        super().follow()

    def lead(self, *tensors: torch.Tensor) -> None:
        assert not self.open, "it would lead itself"
        self.said.append("lead")
        super().lead(*tensors)

    def synchronize(self) -> None:
        self.said.append("synchronize")
        super().synchronize()


_BLIND = {torch.ops.aten.is_pinned.default, torch.ops.aten.new_empty.default}


def _is_view(func: Any) -> bool:
    """It returns what it was given, and writes nothing: no sample is read."""
    returned = [each.alias_info for each in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in returned)


class Watch(TorchDispatchMode):
    """Sees every op: none may touch a surface but on its decoder's stream, and the host's waits are
    counted."""

    def __init__(self, nvc: FakeNvc) -> None:
        super().__init__()
        self.nvc, self.reads, self.waits = nvc, 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        buffers = self.nvc.buffers()
        touched = any(x.untyped_storage().data_ptr() in buffers for x in tensors)
        if touched and func not in _BLIND and not _is_view(func):
            assert WatchedStream.open == 1, f"{func} reads a surface on another stream"
            self.reads += 1
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
            self.waits += 1
        return func(*args, **(kwargs or {}))
