"""Names the shape in a box: the one whose mask stands out from what surrounds it.

Letters: m shapes, n samples a side of a box with its surroundings.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad

from reading.looks import Look
from reading.readers import Pictures
from reading.scenes import movers
from reading.truth import SHAPES, Box

INNER, MARGIN = 32, 8  # samples of a box's side, and of what is seen beyond each of its edges
ALIKE = 0.85  # correlation from which a shape is named; two shapes' masks reach 0.83


class ShapeReader:
    """Reads looks at shapes, whatever their colours: bright on dark as well as dark on bright."""

    def read(self, pictures: Pictures, looks: Sequence[Look]) -> list[str]:
        """The name of the shape in each, "" where none fits."""
        return [_name(pictures.rgb(look.frame), look.box) for look in looks]


def _name(picture: Tensor, box: Box) -> str:
    """The name of the shape in a box of ``[3, H, W]``."""
    colours, inside = sampled(picture, box)  # [3, n, n], [n, n]
    edge = torch.zeros_like(inside)
    edge[[0, -1]] = edge[:, [0, -1]] = True
    around = colours[:, edge & inside].median(1).values  # [3]
    distinct = (colours - around[:, None, None]).norm(dim=0)  # [n, n]
    # What lies outside the picture is not known, and takes no part.
    fits = standard(masks()[:, inside]) @ standard(distinct[inside])  # [m]
    best = int(fits.argmax())
    return SHAPES[best] if fits[best] >= ALIKE else ""


def sampled(picture: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """A box with its margin, colours 0..1 ``[3, n, n]``, and which are in the picture ``[n, n]``.

    Boxes have fractions of pixels, so that colours are interpolated.
    """
    height, width = picture.shape[1:]
    left, top, right, bottom = box
    share = (torch.arange(-MARGIN, INNER + MARGIN) + 0.5) / INNER  # [n] of the box
    x, y = left + share * (right - left), top + share * (bottom - top)
    where = torch.stack(torch.meshgrid(2 * x / width - 1, 2 * y / height - 1, indexing="xy"), -1)
    colours = grid_sample(picture[None] / 255, where[None], padding_mode="border",
                          align_corners=False)[0]  # fmt: skip
    return colours, (where.abs() <= 1).all(-1)


@cache
def masks() -> Tensor:
    """Where each shape is, as it is drawn: ``[m, n, n]`` of 0..1."""
    rows = []
    for name in SHAPES:
        sprite = movers.shape(name, 2 * INNER, (255, 255, 255))
        opacity = torch.from_numpy(sprite[..., 3].copy())[None, None]  # [1, 1, h, w]
        small = interpolate(opacity, (INNER, INNER), mode="bilinear", antialias=True)
        rows.append(pad(small[0, 0], (MARGIN,) * 4))
    return torch.stack(rows)


def standard(rows: Tensor) -> Tensor:
    """Brings rows to mean 0 and length 1 along the last axis, so that products are correlations.

    A grey level of noise is added to the length: rounding alone is no shape.
    """
    centred = rows - rows.mean(-1, keepdim=True)
    noise = rows.shape[-1] ** 0.5 / 255
    return centred / (centred.norm(dim=-1, keepdim=True) + noise)
