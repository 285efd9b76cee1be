"""A camera's last picture as JPEG, with rectangles around what is new in it."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from ..camera import Seen

_MOST = 640  # pixels of the longer side
_COLOUR = (255, 96, 0)


def picture_of(seen: Seen) -> bytes:
    """Draws the last frame, at most 640 pixels wide and high; returns a JPEG."""
    rgb = seen.frames.rgb()[-1].permute(1, 2, 0).cpu().numpy()  # [H, W, 3]
    image = Image.fromarray(np.ascontiguousarray(rgb))
    scale = min(1.0, _MOST / max(image.size))
    if scale < 1:
        image = image.resize((round(image.width * scale), round(image.height * scale)))
    draw = ImageDraw.Draw(image)
    for box in seen.boxes():
        edges = [round(each * scale) for each in box]
        draw.rectangle((edges[0], edges[1], edges[2] - 1, edges[3] - 1), outline=_COLOUR, width=2)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return out.getvalue()
