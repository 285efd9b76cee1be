"""Makes the pictures of a moment as data URIs of bounded size.

Letters: H W pixels.
"""

import base64
import io
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from patchgate.gate import Gate
from patchgate.report.cells import arrows, draw_arrows, shown_size, tinted
from patchgate.report.comparison import Compared
from patchgate.report.survey import Moment

AMPLIFIED = 8  # times, where differences are shown
_LARGEST = 560  # pixels of a picture's side; a grid of more is shown smaller
_CELLS, _THUMB = 720, 264  # pixels of the longer side
_ARROWS_APART = {_CELLS: 40, _THUMB: 26}  # pixels
_QUALITIES = (90, 80, 65, 45, 25)
_WEBP_LARGEST = 56_000  # bytes: of 6 such a moment, and 15 moments, the page stays below 8 MB


class Images(NamedTuple):
    """The pictures of a moment, as data URIs."""

    thumb: str
    original: str
    rebuilt: str
    adjacent: str
    cells: str
    rebuilt_difference: str
    adjacent_difference: str


def images_of(compared: Compared, gate: Gate, aspect: float) -> Images:
    """Draws all pictures of a moment; ``aspect`` is the width / height at which they are shown."""
    moment = compared.moment
    return Images(
        thumb=thumb(moment, gate, aspect),
        original=_uri(_picture(moment.original)),
        rebuilt=_uri(_picture(moment.rebuilt)),
        adjacent=_uri(_picture(compared.adjacent)),
        cells=_uri(cells_image(moment, gate, aspect, _CELLS)),
        rebuilt_difference=_uri(_difference(moment.original, moment.rebuilt)),
        adjacent_difference=_uri(_difference(moment.original, compared.adjacent)),
    )


def thumb(moment: Moment, gate: Gate, aspect: float) -> str:
    """Draws the cells of a moment in small, as a data URI."""
    return _uri(cells_image(moment, gate, aspect, _THUMB), _WEBP_LARGEST // 4)


def cells_image(moment: Moment, gate: Gate, aspect: float, longest: int) -> Image.Image:
    """Draws the static, moved and changed cells and the arrows of a moment."""
    height, width = shown_size(aspect, longest)
    grey = Image.fromarray(moment.original.permute(1, 2, 0).numpy()).convert("L")
    grey = grey.resize((width, height), Image.Resampling.LANCZOS)
    shown = Image.fromarray(tinted(np.asarray(grey), moment.kind.numpy()))
    settings = gate.settings
    pixels = moment.motion.numpy() / settings.motion_precision
    draw_arrows(
        shown,
        arrows(
            moment.kind.numpy(), pixels, (height, width), settings.cell,
            settings.search_radius or 1, _ARROWS_APART[longest],
        ),
    )  # fmt: skip
    return shown


def _difference(one: Tensor, other: Tensor) -> Image.Image:
    """Draws the difference in the channel that differs most, amplified; black means none."""
    difference = (one.short() - other.short()).abs().amax(0)  # [H, W]
    level = (difference * AMPLIFIED).clamp(max=255).byte().numpy()
    return _bounded(Image.fromarray(colormaps["inferno"](level, bytes=True)[..., :3]))


def _picture(rgb: Tensor) -> Image.Image:
    return _bounded(Image.fromarray(rgb.permute(1, 2, 0).numpy()))


def _bounded(image: Image.Image) -> Image.Image:
    image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)  # in place; never enlarges
    return image


def _uri(image: Image.Image, largest: int = _WEBP_LARGEST) -> str:
    """Writes a WebP of the best quality that fits, or of half the size if none does (raw noise)."""
    while True:
        for quality in _QUALITIES:
            file = io.BytesIO()
            image.save(file, "WEBP", quality=quality, method=3)
            if file.tell() <= largest:
                return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
        image = image.reduce(2)
