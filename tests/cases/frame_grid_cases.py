"""What several tests of frame grid share."""

from types import SimpleNamespace

import torch
from hypothesis import strategies as st
from torch import Tensor

from patchgate import grid
from patchgate.decode import Colour

FITS = ("stretch", "crop", "pad")


op = torch.ops.patchgate.frame_grid


def make_batch(
    luma: tuple[int, int],
    step: tuple[int, int] = (2, 2),
    *,
    frames: int = 1,
    full_range: bool = False,
    bit_depth: int = 8,
    margin: int = 0,
    seed: int = 0,
) -> SimpleNamespace:
    """Random planes; with a margin they are views into larger ones."""
    random = torch.Generator().manual_seed(seed)
    chroma = (-(-luma[0] // step[0]), -(-luma[1] // step[1]))

    def plane(shape: tuple[int, int]) -> Tensor:
        outer = (frames, shape[0] + margin, shape[1] + 2 * margin)
        values = torch.randint(0, 1 << bit_depth, outer, generator=random, dtype=torch.int32)
        values = values.to(torch.uint8 if bit_depth == 8 else torch.uint16)
        return values[:, margin:, margin : margin + shape[1]]

    colour = Colour(full_range=full_range, bit_depth=bit_depth)
    return SimpleNamespace(planes=(plane(luma), plane(chroma), plane(chroma)), colour=colour)


def arguments(batch: SimpleNamespace, size: tuple[int, int], fit: str = "stretch") -> tuple:
    y, cb, cr = batch.planes
    shapes = tuple(y.shape[1:]), tuple(cb.shape[1:])
    tables = grid.tap_tables(*shapes, grid.fitted(shapes[0], size, fit), y.device)
    return y, cb, cr, *tables, batch.colour.full_range, batch.colour.bit_depth


@st.composite
def cases(draw: st.DrawFn, most: int = 70) -> tuple:
    side = st.integers(1, most)
    batch = make_batch(
        # Wide enough, now and then, for taps that lie further apart than a vector register holds.
        (draw(side), draw(side) * draw(st.sampled_from([1, 1, 4, 16]))),
        draw(st.sampled_from([(2, 2), (1, 2), (1, 1), (4, 4), (1000, 1000)])),
        frames=draw(st.sampled_from([0, 1, 3])),
        full_range=draw(st.booleans()),
        bit_depth=draw(st.sampled_from([8, 8, 9, 10, 12, 16])),
        margin=draw(st.sampled_from([0, 0, 1, 5])),
        seed=draw(st.integers(0, 99)),
    )
    return arguments(batch, (draw(side), draw(side)), draw(st.sampled_from(FITS)))
