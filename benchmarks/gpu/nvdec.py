"""From a file to kept patches on a GPU, against decoding alone: stages/decoder.py runs it.

1080p H.264 for one stream and for eight, each stream in a thread of its own. Every variant reads
the same film in turn, in one run; what is quoted are ratios of medians of those pairs.

decode           NVDEC's surfaces, thrown away
bare             the same with PyNvVideoCodec's own demuxer and loop, no line of ours
patchgate        decode + grid + gate + compact + gather, on borrowed surfaces
together         the same, but surfaces are copied and go through the stages 16 at a time
copied           the same stages on the batches that a user gets
rgb              PyNvVideoCodec's RGB + torchvision's resize and normalise + RLT in plain torch
upload           PyAV on the CPU, batches copied to the GPU, then the same stages as copied
"""

import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import harness
import torch
import torch.nn.functional as F
from peers import rlt
from torch import Tensor

import patchgate
from gpu import traces
from patchgate import Gate, grid
from patchgate.decode import FrameBatch, Video
from patchgate.gate import CHANGED
from patchgate.gather import PixelSpec, gather
from patchgate.pipeline import StageSeconds, token_chunks
from patchgate.pipeline.features import GatedCells
from patchgate.pipeline.surfaces import surface_chunks

SPEC = PixelSpec(size=384, mean=(0.5,) * 3, std=(0.5,) * 3, patch=14)  # SigLIP so400m/14-384
DTYPE = torch.bfloat16
SIDE = 378  # 27 whole patches
TARGET = 0.95  # of the frame rate of decoding alone
AT = torch.device("cuda", 0)


class Rows:
    """Features that end with gather: the tower is no part of this."""

    def to_grid(self, batch: Any) -> Tensor:
        return grid.placed_grid(batch, SPEC.place(batch.height, batch.width))

    def empty(self) -> Tensor:
        return torch.empty((0, 3 * SPEC.patch**2), dtype=DTYPE, device=AT)

    def needed(self, kind: Tensor) -> Tensor:
        return kind == CHANGED

    def rows(self, planes: Tensor, batch: Any, cells: Tensor) -> Tensor:
        return gather(batch, cells, SPEC, DTYPE)

    def encoding(self, rows: Tensor, gated: GatedCells, stage: Any) -> Any:
        return rows
        yield  # it takes no step


class OnTheGpu:
    """A video's batches on the GPU, whatever decoded them: no borrowed surfaces."""

    def __init__(self, video: Video) -> None:
        self.video, self.threads = video, video.threads

    def __iter__(self) -> Iterator[FrameBatch]:
        return (batch.to(AT) for batch in self.video)


# ---- one stream, each way: the number of frames


def decode(path: Path) -> int:
    with patchgate.open_video(path, device="cuda", fallback=False) as video:
        return sum(1 for _ in video._borrowed())


def bare(path: Path) -> int:
    return sum(1 for _ in surfaces(path, torch.cuda.Stream()))


def surfaces(path: Path, stream: torch.cuda.Stream, **options: Any) -> Iterator[Any]:
    """As PyNvVideoCodec's own demuxer and decoder give them."""
    import PyNvVideoCodec as nvc

    demuxer = nvc.CreateDemuxer(filename=str(path))
    decoder = nvc.CreateDecoder(gpuid=0, codec=demuxer.GetNvCodecId(), cudacontext=0,
                                cudastream=stream.cuda_stream, usedevicememory=True,
                                **options)  # fmt: skip
    for packet in demuxer:
        yield from decoder.Decode(packet)


def tokens(video: Any) -> int:
    chunks = token_chunks(video, Gate(size=SIDE), features=Rows())
    return sum(len(chunk.kind) for chunk in chunks)


def together(path: Path) -> int:
    with patchgate.open_video(path, device="cuda", fallback=False) as video:
        chunks = surface_chunks(video, Gate(size=SIDE), StageSeconds(), Rows(), together=16)
        return sum(len(chunk.kind) for chunk in chunks)


def ours(path: Path) -> int:
    with patchgate.open_video(path, device="cuda", fallback=False) as video:
        return tokens(video)


def copied(path: Path) -> int:
    with patchgate.open_video(path, device="cuda", fallback=False) as video:
        return tokens(OnTheGpu(video))


def upload(path: Path) -> int:
    with patchgate.open_video(path) as video:
        return tokens(OnTheGpu(video))


def rgb(path: Path) -> int:
    """The decoder converts whole frames; they are resized and normalised whole, then masked."""
    import PyNvVideoCodec as nvc

    stream, frames = torch.cuda.Stream(), 0
    before: Tensor | None = None
    with torch.cuda.stream(stream):
        for surface in surfaces(path, stream, outputColorType=nvc.OutputColorType.RGBP):
            frame = preprocessed(torch.from_dlpack(surface))  # [1, 3, H, W]
            pair = frame if before is None else torch.cat([before, frame])
            kept = rlt.keep_mask(pair, SPEC.patch)[-1]  # [h, w]
            F.unfold(frame, SPEC.patch, stride=SPEC.patch)[0].T[kept.flatten()]
            before, frames = frame, frames + 1
    return frames


def preprocessed(frame: Tensor) -> Tensor:
    """``[3, H', W']`` uint8 as a tower takes it, ``[1, 3, H, W]``."""
    size = [SPEC.size.target(*frame.shape[1:], 1)[i] for i in (0, 1)]
    small = F.interpolate(frame[None].float(), size, mode="bicubic", antialias=True)
    small = small.round().clamp(0, 255)[..., :SIDE, :SIDE]
    return ((small / 255 - 0.5) / 0.5).to(DTYPE)


# ---- many streams


WAYS: dict[str, Callable[[Path], int]] = {
    "decode": decode, "bare": bare, "patchgate": ours, "together": together, "copied": copied,
    "rgb": rgb, "upload": upload,
}  # fmt: skip
RIVALS = ("bare", "rgb")  # PyNvVideoCodec's own demuxer: its frames are its own affair


def at_once(way: Callable[[Path], int], path: Path, streams: int) -> int:
    """Frames of so many streams, each read by a thread of its own."""
    with ThreadPoolExecutor(streams) as pool:
        frames = sum(pool.map(way, [path] * streams))
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return frames


def counted(path: Path, streams: int) -> dict[str, int]:
    """The frames that each way sees, warm afterwards. A rival that fails is left out, and said."""
    frames: dict[str, int] = {}
    for name, way in WAYS.items():
        try:
            frames[name] = at_once(way, path, streams)
        except Exception as error:
            if name not in RIVALS:
                raise
            print(f"{name} is left out: {type(error).__name__}: {error}")
    own = {name: count for name, count in frames.items() if name not in RIVALS}
    if len(set(own.values())) != 1:
        raise RuntimeError(f"the ways do not see the same frames: {own}")
    return frames


def measured(path: Path, streams: int, rounds: int) -> list[dict[str, Any]]:
    frames = counted(path, streams)
    calls = {name: (lambda way=WAYS[name]: at_once(way, path, streams)) for name in frames}
    seconds = harness.paired(calls, rounds)
    return [
        {"streams": streams, "way": name, "frames": frames[name],
         "frames_per_second": round(frames[name] / statistics.median(spent), 1),
         "of_decode": round(harness.ratio(seconds["decode"], spent), 3)}
        for name, spent in seconds.items()
    ]  # fmt: skip


def watched(path: Path) -> dict[str, Any]:
    """What crosses to the host in one reading, and how often it waits."""
    ours(path)  # warm: the tables are made
    chunks: list[int] = []
    trace = traces.traced(lambda: chunks.append(ours(path)))
    frames = chunks[0]
    return {"frames": frames, "chunks": -(-frames // 16), "waits": trace.waits,
            "copies_to_host": len(trace.to_host), "largest_bytes": max(trace.to_host, default=0),
            "bytes_a_frame": round(sum(trace.to_host) / frames),
            "kernels_a_frame": round(trace.kernels / frames, 1)}  # fmt: skip
