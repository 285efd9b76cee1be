"""Clips by scene, split and seed: rendered, coded as H.264, decoded again."""

import hashlib
import os
import pickle
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import av
import numpy as np
import PIL
import torch
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray
from torch import Tensor

import patchgate
from patchgate.colour import Matrix, yuv_to_rgb
from patchgate.grid import to_grid
from reading.scenes import SCENES
from reading.truth import Clip, Size, Split

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / "build" / "reading"
SECONDS = 6.0
FPS = 25
# mbtree's lookahead does not give the same bytes every time, nor do several threads
X264 = {"preset": "veryfast", "crf": "23", "threads": "1", "x264-params": "mbtree=0"}


@dataclass(frozen=True)
class Footage:
    """A clip as a viewer gets it: coded, decoded, brought to the grid."""

    truth: Clip  # without its frames
    planes: Tensor  # uint8 [T, 3, H, W]: Y, Cb and Cr of full range
    matrix: Matrix

    def rgb(self, t: int | slice) -> Tensor:
        """uint8 ``[3, H, W]`` of a frame, ``[n, 3, H, W]`` of a slice."""
        return yuv_to_rgb(self.planes[t], self.matrix)


def render(
    scene: str, split: Split, seed: int, size: Size, seconds: float = SECONDS, fps: int = FPS
) -> Clip:
    """Draws a clip. Splits never share a clip: their names are part of the seed."""
    name = f"{scene}/{split}/{size[0]}x{size[1]}"
    rng = np.random.default_rng(np.random.SeedSequence([seed, *name.encode()]))
    frames, items = SCENES[scene](rng, size, round(seconds * fps), fps)
    return Clip(scene, split, seed, fps, frames, tuple(items))


def encode(frames: NDArray[np.uint8], fps: int, path: Path) -> None:
    """Writes RGB ``[T, H, W, 3]`` as H.264, BT.709 of limited range."""
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=fps, options=X264)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        coder = stream.codec_context
        coder.colorspace = coder.color_primaries = coder.color_trc = 1  # BT.709
        coder.color_range = ColorRange.MPEG
        for rgb in frames:
            picture = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG, dst_color_range=ColorRange.MPEG,
            )  # fmt: skip
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))


def footage(
    scene: str, split: Split, seed: int, size: Size, seconds: float = SECONDS, fps: int = FPS
) -> Footage:
    """Renders, codes and decodes a clip; file and truth are kept under build/reading/."""
    name = f"{scene}-{split}-{seed}-{size[0]}x{size[1]}-{seconds:g}s-{fps}fps"
    folder = CACHE / _generator()
    video, truth = folder / f"{name}.mp4", folder / f"{name}.truth"
    if not truth.exists():
        clip = render(scene, split, seed, size, seconds, fps)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as new:  # several may make it at once
            coded, told = Path(new) / "video", Path(new) / "truth"
            encode(clip.frames, clip.fps, coded)
            told.write_bytes(pickle.dumps(clip.without_frames()))
            os.replace(coded, video)
            os.replace(told, truth)
    return _decoded(pickle.loads(truth.read_bytes()), video)


def _decoded(truth: Clip, video: Path) -> Footage:
    with patchgate.open_video(video, threads=1, errors="raise") as opened:
        batches = list(opened)
    planes = torch.cat([to_grid(batch, truth.size) for batch in batches])
    return Footage(truth, planes, batches[0].colour.matrix)


@cache
def _generator() -> str:
    """A name for everything that decides what a clip looks like."""
    digest = hashlib.sha256(f"{np.__version__} {PIL.__version__} {av.__version__}".encode())
    modules = [HERE / f"{name}.py" for name in ("clips", "fonts", "ink", "truth")]
    for path in [*modules, *sorted(HERE.glob("scenes/*.py"))]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
