"""Small video clips with known content, made with PyAV, each once a session.

``clip(name)`` gives the path of a clip of ``CLIPS``; ``write(path, ...)`` makes any other.
``plain(path)`` is the independent decode that ours is compared with.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

os.environ.setdefault("SVT_LOG", "1")  # errors only: the AV1 encoder writes a page to stderr
RATE = 25
TICK = Fraction(1, 12_800)
STEP = 512  # ticks a frame at 25 fps
LOSSLESS = {"qp": "0", "preset": "ultrafast"}
SMALL = {"preset": "veryfast", "crf": "30"}
# Else Matroska's random identifiers and x264's look ahead (its mbtree) make other bytes in each
# run, and what is damaged by its place in the file is damaged otherwise.
SAME = {"fflags": "+bitexact"}


def picture(index: int, frame: av.VideoFrame) -> list[np.ndarray]:
    """Fill every plane of ``frame`` with what frame ``index`` shows; give the planes, unpadded.

    A gradient that moves, noise that stands still, and one bright square a corner's width from the
    top left, so that no two frames, no two planes and no two orientations look alike.
    """
    planes = []
    for p, plane in enumerate(frame.planes):
        deep = frame.format.components[0].bits > 8
        top = (1 << frame.format.components[0].bits) - 1
        rows = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)
        rows = rows[:, : _row_samples(frame, p)]
        y, x = np.mgrid[: rows.shape[0], : rows.shape[1]]
        noise = np.random.default_rng(p).integers(0, 24, rows.shape)
        shown = (x * 3 + y * 5 + index * 7 + p * 40) % 150 + 40 + noise
        shown[2:8, 4:12] = 230 - p * 30
        rows[...] = (shown.astype(np.int64) * top) // 255
        planes.append(rows.copy())
    return planes


def _row_samples(frame: av.VideoFrame, p: int) -> int:
    sharing = sum(component.plane == p for component in frame.format.components)
    return frame.planes[p].width * sharing


def write(path: Path, *, codec: str = "libx264", size: tuple[int, int] = (64, 48),
          pixels: str = "yuv420p", frames: int = 24, pts: Sequence[int] | None = None,
          options: dict[str, str] | None = None, muxer: str | None = None,
          muxer_options: dict[str, str] | None = None, tick: Fraction = TICK,
          rotation: tuple[float, bool, bool] | None = None, space: int | None = None,
          full_range: bool | None = None) -> Path:  # fmt: skip
    """Encode ``picture(0..frames)``; ``pts`` in units of ``tick`` seconds, one per frame."""
    wishes = {**SAME, **(muxer_options or {})}
    options = dict(SMALL if options is None else options)
    if codec.startswith("libx264"):
        options.setdefault("mbtree", "0")
    with av.open(str(path), "w", format=muxer, container_options=wishes) as out:
        stream = out.add_stream(codec, rate=RATE, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.time_base = stream.codec_context.time_base = tick
        if rotation is not None:
            stream.set_display_rotation(*rotation)
        if space is not None:
            stream.codec_context.colorspace = space
        if full_range is not None:
            stream.codec_context.color_range = 2 if full_range else 1
        step = round(1 / (RATE * tick))
        pts = pts or [step * i for i in range(frames)]
        for packet in encode(stream, size, pixels, pts, tick=tick):
            out.mux(packet)
    return path


def encode(encoder, size, pixels, pts, *, first=0, tick=TICK):
    """Packets of pictures ``first...`` stamped ``pts`` (units of ``tick``); flushes the encoder."""
    for i, ticks in enumerate(pts):
        frame = av.VideoFrame(*size, pixels)
        picture(first + i, frame)
        frame.pts, frame.time_base = ticks, tick
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def content(index: int, size: tuple[int, int], pixels: str = "yuv420p") -> list[np.ndarray]:
    """The planes that frame ``index`` was encoded from."""
    return picture(index, av.VideoFrame(*size, pixels))


def plain(path: Path | str) -> tuple[list[np.ndarray], list[float]]:
    """Every frame's samples (``to_ndarray``, native format) and time, by PyAV's own plain loop."""
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = [(f.to_ndarray(), float(f.pts * f.time_base)) for f in container.decode(video=0)]
    return [samples for samples, _ in frames], [seconds for _, seconds in frames]


def lossless(name: str, pictures, pixels: str = "yuv444p") -> Path:
    """A lossless clip in ``folder()`` of pictures of Y, Cb and Cr, each a tensor ``[3, H, W]``."""
    path = folder() / name
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options=dict(LOSSLESS))
        stream.pix_fmt = pixels
        for i, planes in enumerate(pictures):
            if not i:  # the encoder is not open yet
                stream.height, stream.width = planes.shape[1:]
            frame = av.VideoFrame.from_ndarray(planes.numpy(), "yuv444p").reformat(format=pixels)
            frame.pts, frame.time_base = i * STEP, TICK
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def size_change(path: Path, second: tuple[int, int] = (96, 64), pixels: str = "yuv420p",
                first: tuple[int, int] = (64, 48)) -> Path:  # fmt: skip
    """MPEG-TS: 10 frames yuv420p of a size, then 10 of another size or format, in one stream."""
    with av.open(str(path), "w", format="mpegts") as out:
        stream = out.add_stream("libx264", rate=RATE, options=dict(LOSSLESS))
        stream.width, stream.height, stream.pix_fmt = *first, "yuv420p"
        stream.time_base = stream.codec_context.time_base = TICK
        other = av.CodecContext.create("libx264", "w")
        other.width, other.height = second
        other.pix_fmt, other.time_base, other.options = pixels, TICK, dict(LOSSLESS)
        other.framerate = Fraction(RATE)
        for packet in encode(stream, first, "yuv420p", [STEP * i for i in range(10)]):
            out.mux(packet)
        for packet in encode(other, second, pixels, [STEP * i for i in range(10, 20)], first=10):
            packet.stream = stream
            out.mux(packet)
    return path


def damaged(source: Path, path: Path, *, flips: int = 60, seed: int = 0) -> Path:
    """``source`` with bytes of its middle half overwritten at random."""
    data = bytearray(source.read_bytes())
    places = np.random.default_rng(seed).integers(len(data) // 4, len(data) * 3 // 4, flips)
    for at in places:
        data[at] ^= 0xFF
    path.write_bytes(data)
    return path


def truncated(source: Path, path: Path, share: float = 0.6) -> Path:
    """The first ``share`` of ``source``'s bytes."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share) | 1])
    return path


def audio_only(path: Path) -> Path:
    """A second of silence."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=16_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return path


def zero_frames(path: Path) -> Path:
    """A whole Matroska file whose video stream holds not one frame."""
    with av.open(str(path), "w", container_options=SAME) as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        out.start_encoding()
    return path


VFR = [0, 100, 612, 1600, 1700, 1800, 6400, 6528, 7000, 12_800, 12_900, 13_500]
# (mbtree's lookahead does not give the same bytes every time)
B_FRAMES = {"x264-params": "bframes=3:b-adapt=0:keyint=8:min-keyint=8:open-gop=1:scenecut=0"
                           ":rc-lookahead=0:mbtree=0", "crf": "25"}  # fmt: skip
_25 = Fraction(1, RATE)  # the tick of containers and codecs with a fixed frame rate
_LATE = [STEP * i + 20_000 for i in range(40)]

# Open GOPs, B-frames and a start that is not 0: what seeking can get wrong.
CLIPS: dict[str, Callable[[Path], Path]] = {
    "h264.mp4": functools.partial(write, frames=40, options=B_FRAMES),
    "late.mp4": functools.partial(write, pts=_LATE, options=B_FRAMES),
    "late.mkv": functools.partial(write, pts=_LATE, options=B_FRAMES),
    "late.ts": functools.partial(write, pts=_LATE, options=B_FRAMES),
    "hevc.mp4": functools.partial(
        write, codec="libx265", frames=40, pts=_LATE,
        options={"x265-params": "bframes=3:keyint=8:min-keyint=8:open-gop=1:log-level=none:pools=1",
                 "preset": "ultrafast"}),
    "hevc.ts": functools.partial(
        write, codec="libx265", frames=40, pts=_LATE,
        options={"x265-params": "bframes=3:keyint=8:min-keyint=8:open-gop=1:log-level=none:pools=1",
                 "preset": "ultrafast"}),
    "vp9.webm": functools.partial(
        write, codec="libvpx-vp9", frames=40, options={"g": "8", "deadline": "realtime"}),
    "av1.mkv": functools.partial(
        write, codec="libsvtav1", frames=40, options={"g": "8", "preset": "10"}),
    "mpeg4.avi": functools.partial(
        write, codec="mpeg4", frames=40, options={"g": "8", "b": "400k"}, tick=_25),
    "mpeg4-b.mp4": functools.partial(
        write, codec="mpeg4", frames=40, options={"g": "8", "bf": "2", "b": "400k"}),
    "mpeg2.ts": functools.partial(
        write, codec="mpeg2video", frames=40, tick=_25,
        options={"g": "8", "bf": "2", "b": "400k"}),
    "vfr.mp4": functools.partial(write, pts=VFR, options=LOSSLESS),
    "vfr.mkv": functools.partial(write, pts=VFR, options=LOSSLESS),
    "faststart.mp4": functools.partial(
        write, frames=60, options=dict(SMALL, g="12"), muxer_options={"movflags": "+faststart"}),
    "size.ts": size_change,
    "audio.m4a": audio_only,
    "empty.mkv": zero_frames,
}  # fmt: skip


@functools.cache
def folder() -> Path:
    """A temporary folder, removed when the session ends."""
    path = Path(tempfile.mkdtemp(prefix="patchgate-clips-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@functools.cache
def clip(name: str) -> Path:
    """The clip ``name`` of CLIPS, made at the first call."""
    return CLIPS[name](folder() / name)
