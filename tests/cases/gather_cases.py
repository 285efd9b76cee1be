"""Frames, kept cells and arguments for the gather's tests, and a Hypothesis strategy of them."""

from types import SimpleNamespace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from patchgate.decode import Colour
from patchgate.gather import PixelSpec
from patchgate.gather.resize import ShortestEdge
from patchgate.gather.rows import colour_matrix, tap_tables

CPU = torch.device("cpu")
MATRICES = ("bt601", "bt709", "bt2020")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def make_batch(
    luma: tuple[int, int],
    step: tuple[int, int] = (2, 2),
    *,
    frames: int = 1,
    matrix: str = "bt601",
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

    kind = Colour(matrix=matrix, full_range=full_range, bit_depth=bit_depth)  # type: ignore[arg-type]
    return SimpleNamespace(planes=(plane(luma), plane(chroma), plane(chroma)), colour=kind)


def random_index(cells: int, kept: str, seed: int = 0) -> Tensor:
    """Kept cells as ``compact`` gives them."""
    random = torch.Generator().manual_seed(seed)
    share = {"none": 0.0, "all": 1.0, "half": 0.5, "few": 0.1}[kept]
    index = torch.rand(cells, generator=random).lt(share).nonzero().flatten()
    return torch.cat([index, index.new_full((seed % 3,), -1)])


def arguments(
    batch: SimpleNamespace | Tensor,
    spec: PixelSpec,
    kept: str = "all",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple:
    if isinstance(batch, Tensor):
        planes, matrix, bit_depth = batch.unbind(1), None, 8
    else:
        planes, bit_depth = batch.planes, batch.colour.bit_depth
        matrix = colour_matrix(batch.colour.matrix, batch.colour.full_range, CPU)
    picture = tuple(planes[0].shape[1:])
    h, w = spec.cells(*picture)
    index = random_index(-(-len(planes[0]) // spec.temporal_patch) * h * w, kept, seed)
    levels = torch.randn(3, 256, generator=torch.Generator().manual_seed(seed)).to(dtype)
    sides = (spec.patch, spec.merge, spec.temporal_patch)
    tables = tap_tables(picture, spec, CPU)
    order = (spec.channels_last, spec.vertical_first(*picture))
    return *planes, index, *tables, matrix, levels, bit_depth, *sides, *order


def make_spec(size: Any, patch: int, **settings: Any) -> PixelSpec:
    return PixelSpec(size, 0.5, 0.5, patch, **settings)  # type: ignore[arg-type]


@st.composite
def cases(draw: st.DrawFn, most: int = 70) -> tuple:
    side, cells = st.integers(1, most), st.integers(1, 7)
    seed, frames = draw(st.integers(0, 99)), draw(st.sampled_from([0, 1, 3]))
    picture = (draw(side), draw(side) * draw(st.sampled_from([1, 1, 4])))
    if draw(st.integers(0, 4)) == 0:
        batch: Any = torch.randint(0, 256, (frames, 3, *picture), dtype=torch.uint8)
    else:
        batch = make_batch(
            picture,
            draw(st.sampled_from([(2, 2), (1, 2), (2, 1), (1, 1), (1, 4), (4, 4), (1000, 1000)])),
            frames=frames,
            matrix=draw(st.sampled_from(MATRICES)),
            full_range=draw(st.booleans()),
            bit_depth=draw(st.sampled_from([8, 8, 8, 9, 10, 12, 16])),
            margin=draw(st.sampled_from([0, 0, 1, 5])),
            seed=seed,
        )
    patch, merge = draw(st.integers(1, 9)), draw(st.sampled_from([1, 1, 2, 3]))
    size = (draw(cells) * patch * merge, draw(cells) * patch * merge)
    crop = draw(st.booleans())
    spec = make_spec(
        ShortestEdge(draw(side)) if crop else size,  # the crop may reach beyond the picture
        patch,
        merge=merge,
        temporal_patch=draw(st.sampled_from([1, 2])),
        crop=size if crop else None,
        filter=draw(st.sampled_from(["bicubic", "bicubic", "bilinear", "lanczos"])),
        channels_last=draw(st.booleans()),
        first_pass=draw(st.sampled_from(["horizontal", "pillow13"])),
    )
    kept = draw(st.sampled_from(["all", "half", "few", "none"]))
    return arguments(batch, spec, kept, draw(st.sampled_from(DTYPES)), seed)
