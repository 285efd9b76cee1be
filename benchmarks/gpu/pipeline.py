"""Grid, gate, compact and gather in a row, against whole frames and an RLT mask in plain torch."""

from typing import Any

import torch
from peers import rlt
from torch import Tensor

from gpu import Case
from gpu.floors import Work
from gpu.gate import new_state
from gpu.gather import CPU, whole_frames
from patchgate import _ops, grid
from patchgate.gate import GateSettings
from patchgate.gather import PixelSpec
from patchgate.gather import rows as pixels

SIDE, PATCH, CAPACITY = 378, 14, 0.25  # of all cells; a steady tenth is kept


def cases(small: bool) -> list[Case]:
    """Both searches; an eighth of the frames' cells kept in the first chunk, then a tenth."""
    size, frames = ((270, 480), 3) if small else ((1080, 1920), 32)
    return [chain_case(size, frames, radius) for radius in (0, 8)]


def chain_case(size: tuple[int, int], frames: int, search_radius: int) -> Case:
    planes = flickering(size, frames)
    spec = PixelSpec(SIDE, 0.5, 0.5, PATCH)
    h, w = spec.cells(*size)
    settings = GateSettings(patch=PATCH, search_radius=search_radius, scene_cut=None)
    inputs = (
        *planes,
        *grid.tap_tables(size, _size(planes[1]), spec.place(*size), CPU),
        *new_state(torch.empty(1, 1, 1, 3, SIDE, SIDE), PATCH),
        *pixels.tap_tables(size, spec, CPU),
        pixels.colour_matrix("bt709", False, CPU),
        pixels.pixel_levels(spec, torch.float16, CPU),
        int(frames * h * w * CAPACITY) if frames > 3 else frames * h * w,
        settings.op_rules(h * w),
    )
    written = inputs[-2] * 3 * PATCH * PATCH * 2
    work = Work(sum(plane.numel() for plane in planes) + written)
    name = f"{frames} x {size[0]}p, a tenth kept, search_radius={search_radius}"
    return Case("pipeline", name, work, inputs, chain, baseline=plain, kernel="-")


def chain(
    y: Tensor,  # [T, H', W']
    cb: Tensor,  # [T, H'', W'']
    cr: Tensor,
    *rest: Any,
) -> tuple[Tensor, Tensor, Tensor]:  # [capacity, 3 * P * P], [T + 1], [1]
    """Fixed capacity, four ops, nothing synchronises."""
    tables, state = rest[:4], rest[4:11]
    taps_x, taps_y, matrix, levels, capacity, rules = rest[11:]
    small = _ops.frame_grid(y, cb, cr, *tables, False, 8)  # [T, 3, H, W]
    kind = _ops.gate(small[None, :, None], *state, None, **rules)[0]  # [1, T, h, w]
    index, cu_seqlens, count = _ops.compact(kind, capacity)
    rows = _ops.gather(
        y, cb, cr, index, taps_x, taps_y, matrix, levels, 8, PATCH, 1, 1, False, False
    )
    return rows, cu_seqlens, count


def plain(y: Tensor, cb: Tensor, cr: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """Every frame resized and normalised, then RLT's mask of the patches that changed."""
    frames = whole_frames(y, cb, cr)
    return frames, rlt.keep_mask(frames, PATCH)


def flickering(size: tuple[int, int], frames: int) -> tuple[Tensor, Tensor, Tensor]:
    """A still picture; in every frame other cells, a twentieth of them, hold something else.

    So a tenth changes from frame to frame, from the last to the first too.
    """
    random = torch.Generator().manual_seed(0)
    cells = SIDE // PATCH
    shown = torch.rand(frames, 1, cells, cells, generator=random) < 0.05
    blocks = torch.zeros(frames, 1, SIDE, SIDE)
    inner = PATCH - 4  # what a filter spreads over a cell's border must not change its neighbour
    for t, _, y, x in shown.nonzero().tolist():
        top, left = y * PATCH + 2, x * PATCH + 2
        blocks[t, 0, top : top + inner, left : left + inner] = 1

    def plane(height: int, width: int) -> Tensor:
        still = torch.randint(30, 100, (1, 1, height, width), generator=random)
        mask = torch.nn.functional.interpolate(blocks, (height, width)) > 0
        return torch.where(mask, still + 100, still)[:, 0].to(torch.uint8)

    half = (size[0] // 2, size[1] // 2)
    return plane(*size), plane(*half), plane(*half)


def _size(plane: Tensor) -> tuple[int, int]:
    return plane.shape[1], plane.shape[2]
