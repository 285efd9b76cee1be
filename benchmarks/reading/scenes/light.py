"""A camera before a slide whose light changes: exposure in steps, mains flicker, a lamp.

Light is a gain on the coded values: a power law of a screen makes a gain on light one on them.

Letters: T frames, H W pixels.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reading.truth import Size

from . import overlays
from .record import Film, Scene
from .slides import talk

Gain = NDArray[np.floating]  # [T, H or 1, W or 1]


def exposure(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """An exposure that looks for its level again and again, by steps of a few frames."""
    return _filmed(rng, size, frames, "exposure", lambda: _steps(rng, frames, fps)[:, None, None])


def mains(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """Lamps on mains of 50 or 60 Hz, through a shutter that reads row after row."""
    return _filmed(rng, size, frames, "mains", lambda: _bands(rng, frames, fps, size[0]))


def lamp(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """A lamp that is switched off and on; it lights the room evenly, or a part of it more."""
    return _filmed(rng, size, frames, "lamp", lambda: _switched(rng, frames, fps, size))


def _filmed(
    rng: np.random.Generator, size: Size, frames: int, group: str, light: Callable[[], Gain]
) -> Scene:
    """A talk in some light, with a little of a camera's noise."""
    film, items = talk(rng, size, frames, group)
    _lit(film, light())
    overlays.grain(rng, film, 1.0)
    return film, items


def _lit(film: Film, gain: Gain) -> None:
    """Brings every frame to its light."""
    for frame, own in zip(film, gain, strict=True):
        frame[:] = np.rint((frame * own[..., None]).clip(0, 255))


def _steps(rng: np.random.Generator, frames: int, fps: int) -> NDArray[np.floating]:
    """[T] gains between 0.6 and 1.2."""
    gain, t, now = np.ones(frames), int(rng.integers(fps // 4, fps)), 1.0
    while t < frames:
        goal, step, every = rng.uniform(0.6, 1.2), rng.uniform(0.04, 0.1), int(rng.integers(2, 6))
        while t < frames and abs(np.log(goal / now)) > step:
            now *= float(np.exp(step * np.sign(goal - now)))
            gain[t:] = now
            t += every
        t += int(rng.uniform(0.3, 1.2) * fps)
    return gain


def _bands(rng: np.random.Generator, frames: int, fps: int, height: int) -> Gain:
    """[T, H, 1]: a lamp is brightest twice a period; mains are never quite at their frequency."""
    hertz = 2 * rng.choice([50, 60]) * (1 + rng.normal(0, 0.001))
    depth, readout, phase = rng.uniform(0.02, 0.06), rng.uniform(0.012, 0.03), rng.uniform(0, 1)
    seconds = np.arange(frames)[:, None] / fps + readout * np.arange(height) / height  # [T, H]
    return (1 + depth * np.sin(2 * np.pi * (hertz * seconds + phase)))[..., None]


def _switched(rng: np.random.Generator, frames: int, fps: int, size: Size) -> Gain:
    """[T, H, W]: off leaves 0.55 to 0.85 of the light; a switch takes three frames."""
    on, t = np.ones(frames), int(rng.integers(fps // 4, fps))
    while t < frames:
        on[t:] = 1 - on[t - 1]
        t += int(rng.uniform(0.4, 1.5) * fps)
    on = np.convolve(np.pad(on, (2, 0), mode="edge"), np.full(3, 1 / 3), "valid")  # [T]
    height, width = size
    y, x = np.mgrid[:height, :width] / height - rng.uniform(0, 1, 2)[:, None, None]
    uneven = rng.choice([0, 0.5])
    spread = 1 - uneven + uneven * np.exp(-2 * (y**2 + x**2))  # [H, W]
    return 1 - rng.uniform(0.15, 0.45) * (1 - on)[:, None, None] * spread
