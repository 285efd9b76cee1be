"""What flicker, exposure, grain and a codec's key frames cost, and which rule of the gate helps.

``python benchmarks/flicker.py`` renders a desk with pages on which words appear at known frames,
disturbs it in one way after the other, and counts for each setting of the gate the tokens after the
first frame, over those of the undisturbed clip, and the share of the words' cells that are encoded
when their word appears. ``python benchmarks/flicker.py VIDEO...`` counts the tokens of real clips,
over those of the defaults. Figures are counts: they do not depend on the machine's speed.

Letters: T frames, C planes, H W pixels, h w cells.
"""

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

import patchgate
from patchgate.grid import to_grid

SIZE, FPS, FRAMES, CELL = (252, 364), 25, 100, 14
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "illumination": {"illumination": "global"},
    "noise": {"noise": "adaptive"},
    "hysteresis": {"hysteresis": 0.5},
    "illumination, noise": {"illumination": "global", "noise": "adaptive"},
    "threshold=8": {"threshold": 8},
}


@dataclass(frozen=True)
class Clip:
    """A clip whose changes are known."""

    planes: Tensor  # uint8 [T, 3, H, W]: Y, Cb, Cr
    written: Tensor  # bool [T, h, w]: cells that a word appears in


def desk(seed: int = 0) -> Clip:
    """A smooth desk with two pages, a still picture, and a word every ten frames."""
    random = np.random.default_rng(seed)
    height, width = SIZE
    rows, columns = np.mgrid[:height, :width] / max(SIZE)
    y = 90 + 60 * rows + 40 * np.sin(7 * columns) + random.normal(0, 3, SIZE)
    colour = np.stack([128 + 20 * columns, 128 - 30 * rows])
    pages = [(14, 14, 224, 168), (56, 196, 238, 350)]
    for top, left, bottom, right in pages:
        y[top:bottom, left:right] = random.uniform(190, 225)
    planes = np.empty((FRAMES, 3, *SIZE), np.uint8)
    written = np.zeros((FRAMES, height // CELL, width // CELL), bool)
    for t in range(FRAMES):
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


def frame_gain(of_frame: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def disturb(planes: Tensor) -> Tensor:
        t = torch.arange(len(planes), dtype=torch.float64)
        return lit(planes, of_frame(t).view(-1, 1, 1))

    return disturb


def bands(planes: Tensor, hertz: float) -> Tensor:
    """Mains flicker under a rolling shutter that reads a frame in 1 / 30 s: bands that wander."""
    t = torch.arange(len(planes), dtype=torch.float64)[:, None] / FPS
    row = torch.arange(planes.shape[2], dtype=torch.float64) / planes.shape[2] / 30
    gain = 1 + 0.06 * torch.sin(2 * torch.pi * 2 * hertz * (t + row))  # [T, H]
    return lit(planes, gain[:, :, None])


def grain(planes: Tensor, sigma: float) -> Tensor:
    random = torch.Generator().manual_seed(1)
    noise = torch.randn(planes.shape, generator=random) * sigma
    return (planes.float() + noise).round().clamp(0, 255).to(torch.uint8)


def coded(planes: Tensor) -> Tensor:
    """As H.264 at a low rate, with a key frame every 12 frames, from a noisy camera."""
    file = io.BytesIO()
    options = {"crf": "34", "preset": "veryfast", "x264-params": "keyint=12:scenecut=0",
               "threads": "1"}  # fmt: skip
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv444p"
        for each in grain(planes, 2):
            frame = av.VideoFrame.from_ndarray(each.numpy(), "yuv444p")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as seen:
        frames = [frame.to_ndarray(format="yuv444p") for frame in seen.decode(video=0)]
    return torch.from_numpy(np.stack(frames))


DISTURBED: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda planes: planes,
    "lamp off and on": frame_gain(lambda t: torch.where(t // 25 % 2 == 1, 0.7, 1.0)),
    "auto-exposure, 8 steps in 2 s": frame_gain(lambda t: 1 - 0.05 * ((t - 20) // 6).clamp(0, 8)),
    "fade to a fifth in 30 frames": frame_gain(lambda t: 1 - 0.8 * ((t - 10) / 30).clamp(0, 1)),
    "flicker of the whole frame, 5 %": frame_gain(lambda t: 1 + 0.05 * torch.sin(1.9 * t)),
    "mains bands, 50 Hz": lambda planes: bands(planes, 50),
    "mains bands, 60 Hz": lambda planes: bands(planes, 60),
    "grain, sigma 2": lambda planes: grain(planes, 2),
    "grain, sigma 4": lambda planes: grain(planes, 4),
    "key frames of H.264, crf 34": coded,
    "flicker 5 % and grain 2": lambda planes: grain(
        lit(planes, 1 + 0.05 * torch.sin(1.9 * torch.arange(len(planes)).double()).view(-1, 1, 1)),
        2,
    ),
}


def tokens_of(planes: Tensor, **rules: Any) -> patchgate.GateResult:
    return patchgate.Gate(patch=CELL, **rules).push(planes)


def seen_share(result: patchgate.GateResult, written: Tensor) -> float:
    """The share of words' cells that are encoded in the frame in which their word appears."""
    return float((result.kind[written] == 2).double().mean())


def rendered() -> Iterator[str]:
    clip = desk()
    base = int((tokens_of(clip.planes).kind[1:] == 2).sum())
    yield f"| disturbance | {' | '.join(SETTINGS)} |"
    yield "|---|" + "---|" * len(SETTINGS)
    for name, disturb in DISTURBED.items():
        planes = disturb(clip.planes)
        cells = []
        for rules in SETTINGS.values():
            result = tokens_of(planes, **rules)
            share = int((result.kind[1:] == 2).sum()) / base
            cells.append(f"{share:.2f} ({seen_share(result, clip.written):.2f})")
        yield f"| {name} | {' | '.join(cells)} |"


def real(paths: list[str]) -> Iterator[str]:
    yield f"| clip | {' | '.join(SETTINGS)} |"
    yield "|---|" + "---|" * len(SETTINGS)
    for path in paths:
        with patchgate.open_video(path, threads=1) as video:
            planes = torch.cat([to_grid(batch, SIZE) for batch in video])
        counts = [int((tokens_of(planes, **rules).kind == 2).sum()) for rules in SETTINGS.values()]
        shares = " | ".join(f"{count / counts[0]:.2f}" for count in counts)
        yield f"| {path.rsplit('/', 1)[-1]} | {shares} |"


if __name__ == "__main__":
    for line in real(sys.argv[1:]) if sys.argv[1:] else rendered():
        print(line, flush=True)
