"""What only a GPU can answer of NVDEC and PyNvVideoCodec: python benchmarks/gpu/nvdec_questions.py

Each question prints one line: its answer, or the error that came instead. Whether frames are those
of PyAV is no question here: ``tests/gpu/test_nvdec_cuda.py`` asserts it.
"""

import ctypes
import importlib.metadata
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import av
import torch

import patchgate
from gpu import films
from patchgate.decode.nvdec.capabilities import capability
from patchgate.decode.nvdec.decoder import CODECS, backend
from patchgate.decode.nvdec.decoder_pool import DecoderPool
from patchgate.decode.nvdec.surface_reader import SurfaceReader
from patchgate.decode.pyav import PyAVReader
from patchgate.decode.source.source import Source

B_FRAMES = {"preset": "veryfast", "bf": "3", "g": "12"}


def h264() -> Path:
    return films.moving("b.mp4", "libx264", (320, 240), options=B_FRAMES)


def gpu_backend():
    return backend(torch.device("cuda"))


def versions() -> str:
    driver = ctypes.c_int()
    ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(driver))
    package = importlib.metadata.version("PyNvVideoCodec")
    return (f"{torch.cuda.get_device_name()}, CUDA driver {driver.value}, PyNvVideoCodec "
            f"{package}, PyAV {av.__version__}, torch {torch.__version__}")  # fmt: skip


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
    pointers = [shown.surface.planes()[0].data_ptr() for shown in surfaces(h264())]
    return f"{len(pointers)} pictures of {len(set(pointers))} buffers"


def pitch() -> str:
    (strides,) = (shown.surface.planes()[0].stride() for shown in surfaces(h264(), 1))
    return f"a 320 x 240 luma plane has strides {strides}"


def simple_decoder_times() -> str:
    import PyNvVideoCodec as nvc

    simple = nvc.SimpleDecoder(str(h264()), gpu_id=0, use_device_memory=True)
    got = [simple[i].getPTS() for i in range(6)]
    with av.open(str(h264())) as container:
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

    with patchgate.open_video(films.large(4), device="cuda", fallback=False) as video:
        thread = threading.Thread(target=count)
        thread.start()
        alone = rate(lambda: time.sleep(0.5))
        beside = rate(lambda: sum(1 for _ in video._loans()))
        ended.set()
        thread.join()
    return f"beside decoding, another thread runs at {beside / alone:.0%} of its rate alone"


def decode_statistics() -> str:
    import PyNvVideoCodec as nvc

    demuxer = nvc.CreateDemuxer(filename=str(h264()))
    decoder = nvc.CreateDecoder(gpuid=0, codec=demuxer.GetNvCodecId(), usedevicememory=True,
                                enableDecodeStats=True)  # fmt: skip
    sizes = {frame.decode_stats_size for packet in demuxer for frame in decoder.Decode(packet)}
    return f"sizes of the statistics, in bytes: {sorted(sizes)}"


def pyav_hardware() -> str:
    from av.codec.hwaccel import HWAccel

    torch.zeros(1, device="cuda")  # torch's primary context comes first
    accel = HWAccel("cuda", allow_software_fallback=False)
    with av.open(str(h264()), hwaccel=accel) as container:
        frame = next(container.decode(video=0))
    return f"PyAV's own NVDEC beside torch's context: a frame of {frame.format.name}"


QUESTIONS: dict[str, Callable[[], str]] = {
    "versions": versions,
    "the encode library that the import needs": encode_library,
    "capabilities": capabilities,
    "are buffers used again": aliasing,
    "pitch": pitch,
    "what SimpleDecoder says of times": simple_decoder_times,
    "does decoding let other threads run": other_threads,
    "decode statistics": decode_statistics,
    "PyAV's hardware decoding": pyav_hardware,
}


def main() -> None:
    for question, answer in QUESTIONS.items():
        try:
            print(f"{question}: {answer()}", flush=True)
        except Exception as error:  # the other questions stand
            print(f"{question}: {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
