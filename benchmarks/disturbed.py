"""Ways in which a picture changes though nothing happens, and a desk on which something does.

Letters: T frames, H W pixels, h w cells.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
import torch
from torch import Tensor

SIZE, FPS, CELL = (252, 364), 25, 14

Disturb = Callable[[Tensor], Tensor]  # planes uint8 [T, 3, H, W] in, and out


@dataclass(frozen=True)
class Clip:
    """A clip whose changes are known."""

    planes: Tensor  # uint8 [T, 3, H, W]: Y, Cb, Cr
    written: Tensor  # bool [T, h, w]: cells that a word appears in


def desk(frames: int = 100, seed: int = 0) -> Clip:
    """A smooth desk with two pages, a still picture, and a word every ten frames."""
    random = np.random.default_rng(seed)
    height, width = SIZE
    rows, columns = np.mgrid[:height, :width] / max(SIZE)
    y = 90 + 60 * rows + 40 * np.sin(7 * columns) + random.normal(0, 3, SIZE)
    colour = np.stack([128 + 20 * columns, 128 - 30 * rows])
    pages = [(14, 14, 224, 168), (56, 196, 238, 350)]
    for top, left, bottom, right in pages:
        y[top:bottom, left:right] = random.uniform(190, 225)
    planes = np.empty((frames, 3, *SIZE), np.uint8)
    written = np.zeros((frames, height // CELL, width // CELL), bool)
    for t in range(frames):
        if t % 10 == 5:
            top, left, bottom, right = pages[t // 10 % 2]
            at = random.integers((top, left), (bottom - 14, right - 70))
            word = random.random((10, 60)) < 0.5
            y[at[0] : at[0] + 10, at[1] : at[1] + 60] = np.where(word, 40, 210)
            low, high = at // CELL, (at + np.array((9, 59))) // CELL
            written[t, low[0] : high[0] + 1, low[1] : high[1] + 1] = True
        planes[t] = np.concatenate([y[None], colour]).round().clip(0, 255)
    return Clip(torch.from_numpy(planes), torch.from_numpy(written))


def lit(planes: Tensor, gain: Tensor) -> Tensor:
    """``[T, 1 or H, 1]`` times the light, colours with it."""
    y = planes[:, 0].double() * gain
    colour = (planes[:, 1:].double() - 128) * gain[:, None] + 128
    return torch.cat([y[:, None], colour], 1).round().clamp(0, 255).to(torch.uint8)


def frame_gain(of_frame: Callable[[Tensor], Tensor]) -> Disturb:
    """All of a frame in one light, which is a function of the frame's number."""

    def disturb(planes: Tensor) -> Tensor:
        t = torch.arange(len(planes), dtype=torch.float64)
        return lit(planes, of_frame(t).view(-1, 1, 1))

    return disturb


def bands(planes: Tensor, hertz: float, fps: float = FPS) -> Tensor:
    """Mains flicker under a rolling shutter that reads a frame in 1 / 30 s: bands that wander."""
    t = torch.arange(len(planes), dtype=torch.float64)[:, None] / fps
    row = torch.arange(planes.shape[2], dtype=torch.float64) / planes.shape[2] / 30
    gain = 1 + 0.06 * torch.sin(2 * torch.pi * 2 * hertz * (t + row))  # [T, H]
    return lit(planes, gain[:, :, None])


def grain(planes: Tensor, sigma: float) -> Tensor:
    """Noise of a standard deviation in grey levels, another one in every frame."""
    random = torch.Generator().manual_seed(1)
    noise = torch.randn(planes.shape, generator=random) * sigma
    return (planes.float() + noise).round().clamp(0, 255).to(torch.uint8)


def coded(planes: Tensor) -> Tensor:
    """As H.264 at a low rate, with a key frame every 12 frames, from a noisy camera."""
    file, (height, width) = io.BytesIO(), planes.shape[-2:]
    options = {"crf": "34", "preset": "veryfast", "x264-params": "keyint=12:scenecut=0",
               "threads": "1"}  # fmt: skip
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv444p"
        for each in grain(planes, 2):
            frame = av.VideoFrame.from_ndarray(each.numpy(), "yuv444p")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as seen:
        frames = [frame.to_ndarray(format="yuv444p") for frame in seen.decode(video=0)]
    return torch.from_numpy(np.stack(frames))


def flickering(t: Tensor) -> Tensor:
    """The light of frames of these numbers: 5 %, in no step with the frames."""
    return 1 + 0.05 * torch.sin(1.9 * t)


DISTURBED: dict[str, Disturb] = {
    "none": lambda planes: planes,
    "lamp off and on": frame_gain(lambda t: torch.where(t // 25 % 2 == 1, 0.7, 1.0)),
    "auto-exposure, 8 steps in 2 s": frame_gain(lambda t: 1 - 0.05 * ((t - 20) // 6).clamp(0, 8)),
    "fade to a fifth in 30 frames": frame_gain(lambda t: 1 - 0.8 * ((t - 10) / 30).clamp(0, 1)),
    "flicker of the whole frame, 5 %": frame_gain(flickering),
    "mains bands, 50 Hz, 25 frames/s": lambda planes: bands(planes, 50),
    "mains bands, 50 Hz, 30 frames/s": lambda planes: bands(planes, 50, 30),
    "mains bands, 60 Hz, 25 frames/s": lambda planes: bands(planes, 60),
    "grain, sigma 2": lambda planes: grain(planes, 2),
    "grain, sigma 4": lambda planes: grain(planes, 4),
    "key frames of H.264, crf 34": coded,
    "flicker 5 % and grain 2": lambda planes: grain(frame_gain(flickering)(planes), 2),
}
