"""What lies behind the text: plain, a gradient, or a texture."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reading.ink import Colour
from reading.truth import Size


def backdrop(rng: np.random.Generator, size: Size, colour: Colour) -> Image.Image:
    """A calm background of about one colour: text on it can be read."""
    kind = rng.choice(["plain", "gradient", "texture"])
    if kind == "plain":
        return Image.new("RGB", size[::-1], colour)
    shade = gradient(rng, size, 16) if kind == "gradient" else texture(rng, size, 5, (4, 24))
    return shaded(colour, shade)


def shaded(colour: Colour, shade: NDArray[np.float32]) -> Image.Image:
    """A colour, lighter and darker by ``shade`` ``[H, W]``."""
    return Image.fromarray(np.clip(np.array(colour) + shade[..., None], 0, 255).astype(np.uint8))


def gradient(rng: np.random.Generator, size: Size, depth: float) -> NDArray[np.float32]:
    """[H, W] from -depth to depth along a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in size)
    return depth * (np.sin(angle) * y[:, None] + np.cos(angle) * x) / np.sqrt(2)


def texture(
    rng: np.random.Generator, size: Size, depth: float, grains: tuple[int, ...]
) -> NDArray[np.float32]:
    """[H, W] of standard deviation ``depth``: noise of several grain sizes in pixels."""
    total = np.zeros(size, np.float32)
    for grain in grains:
        coarse = rng.standard_normal([side // grain + 2 for side in size], np.float32)
        total += np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))
    return depth * (total - total.mean()) / total.std()
