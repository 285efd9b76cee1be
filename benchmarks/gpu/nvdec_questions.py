"""What only a GPU can answer of NVDEC and PyNvVideoCodec: stages/decoder.py asks."""

import ctypes
import importlib.metadata
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

import patchgate
from gpu import films
from patchgate.decode.nvdec.capabilities import capability
from patchgate.decode.nvdec.decoder import CODECS, backend
from patchgate.decode.nvdec.decoder_pool import DecoderPool
from patchgate.decode.nvdec.surface_reader import SurfaceReader
from patchgate.decode.pyav import PyAVReader
from patchgate.decode.source.source import Source


def gpu_backend():
    return backend(torch.device("cuda"))


def versions() -> str:
    driver = ctypes.c_int()
    ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(driver))
    packages = ", ".join(f"{name} {version_of(name)}" for name in ("PyNvVideoCodec", "av"))
    return f"CUDA driver {driver.value}, {packages}, torch {torch.__version__}"


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "is not installed"


def encode_library() -> str:
    ctypes.CDLL("libnvidia-encode.so.1")
    return "libnvidia-encode.so.1 loads"


def capabilities() -> str:
    lines = []
    for codec in CODECS:
        for bits in (8, 10, 12):
            can = capability(gpu_backend(), codec, bits)
            if can.supported:
                lines.append(f"{codec} {bits} bit to {can.width[1]}x{can.height[1]}, from "
                             f"{can.width[0]}x{can.height[0]}, {can.engines} engines")  # fmt: skip
            else:
                lines.append(f"{codec} {bits} bit: no")
    return "\n    ".join(lines)


def surfaces(path: Path, count: int = 12):
    """Address, shape and strides of the first surfaces, as they come."""
    reader = PyAVReader(Source(path), threads=1, errors="raise")
    pictures = SurfaceReader(reader, DecoderPool(gpu_backend()), "raise").pictures()
    for _, shown in zip(range(count), pictures, strict=False):
        yield shown


def aliasing() -> str:
    pointers = [shown.surface.planes()[0].data_ptr() for shown in surfaces(films.film("b.mp4"))]
    return f"{len(pointers)} pictures of {len(set(pointers))} buffers"


def pitch() -> str:
    (strides,) = (shown.surface.planes()[0].stride() for shown in surfaces(films.film("b.mp4"), 1))
    return f"a 320 x 240 luma plane has strides {strides}"


def same_as_pyav(name: str) -> str:
    """Every plane, stamp and duration of both decoders."""
    path = films.film(name)
    with patchgate.open_video(
        path, device="cuda", fallback=False, **films.FILMS[name].read
    ) as video:
        ours = films.told(video)
    theirs = films.told_by_pyav(path)
    answer = [f"{len(ours)} of {len(theirs)} frames"]
    if len(ours) != len(theirs):
        answer.append("their numbers DIFFER")
    for i, what in enumerate(films.TOLD):
        pairs = zip(ours, theirs, strict=False)
        differ = [frame for frame, (a, b) in enumerate(pairs) if a[i] != b[i]]
        answer.append(f"{what} DIFFER in frames {differ[:5]}" if differ else f"{what} equal")
    return ", ".join(answer)


def simple_decoder_times() -> str:
    import av
    import PyNvVideoCodec as nvc

    simple = nvc.SimpleDecoder(str(films.film("b.mp4")), gpu_id=0, use_device_memory=True)
    got = [simple[i].getPTS() for i in range(6)]
    with av.open(str(films.film("b.mp4"))) as container:
        true = [frame.pts for frame, _ in zip(container.decode(video=0), range(6), strict=False)]
    return f"SimpleDecoder's first stamps {got}, true {true}"


def other_threads() -> str:
    """How often a thread that only counts gets its turn, beside decoding and beside sleep."""
    counted, ended = [0], threading.Event()

    def count() -> None:
        while not ended.is_set():
            counted[0] += 1

    def rate(work: Callable[[], object]) -> float:
        before, begin = counted[0], time.perf_counter()
        work()
        return (counted[0] - before) / (time.perf_counter() - begin)

    with patchgate.open_video(films.film(films.LARGE), device="cuda", fallback=False) as video:
        thread = threading.Thread(target=count)
        thread.start()
        alone = rate(lambda: time.sleep(0.5))
        beside = rate(lambda: sum(1 for _ in video._borrowed()))
        ended.set()
        thread.join()
    return f"beside decoding, another thread runs at {beside / alone:.0%} of its rate alone"


def decode_statistics() -> str:
    import PyNvVideoCodec as nvc

    demuxer = nvc.CreateDemuxer(filename=str(films.film("b.mp4")))
    decoder = nvc.CreateDecoder(gpuid=0, codec=demuxer.GetNvCodecId(), usedevicememory=True,
                                enableDecodeStats=True)  # fmt: skip
    sizes = {frame.decode_stats_size for packet in demuxer for frame in decoder.Decode(packet)}
    return f"sizes of the statistics, in bytes: {sorted(sizes)}"


def pyav_hardware() -> str:
    import av
    from av.codec.hwaccel import HWAccel

    if not torch.cuda.is_available():
        raise patchgate.NvdecUnavailable("no CUDA device")
    torch.zeros(1, device="cuda")  # torch's primary context comes first
    accel = HWAccel("cuda", allow_software_fallback=False)
    with av.open(str(films.film("b.mp4")), hwaccel=accel) as container:
        frame = next(container.decode(video=0))
    return f"PyAV's own NVDEC beside torch's context: a frame of {frame.format.name}"


QUESTIONS: dict[str, Callable[[], str]] = {
    "versions": versions,
    "the encode library that the import needs": encode_library,
    "capabilities": capabilities,
    "are buffers used again": aliasing,
    "pitch": pitch,
    "B-frames, MP4": partial(same_as_pyav, "b.mp4"),
    "B-frames and the end of a file, MKV": partial(same_as_pyav, "b.mkv"),
    "B-frames, MPEG-TS": partial(same_as_pyav, "b.ts"),
    "odd sizes": partial(same_as_pyav, "odd.webm"),
    "10 bit": partial(same_as_pyav, "deep.mp4"),
    "entry at a key packet that is no IDR": partial(same_as_pyav, "open.mkv"),
    "what SimpleDecoder says of times": simple_decoder_times,
    "does decoding let other threads run": other_threads,
    "decode statistics": decode_statistics,
    "PyAV's hardware decoding": pyav_hardware,
}
