"""The frame grid: NV12 and P010 surfaces as a decoder leaves them, to 378 x 378."""

from typing import Any

import torch
from torch import Tensor

from gpu import Case, counted
from patchgate import grid

SIZE = (378, 378)
CPU = torch.device("cpu")
op = torch.ops.patchgate.frame_grid


def cases(small: bool) -> list[Case]:
    """A chunk of each, and one surface by itself."""
    size, frames = ((270, 480), 2) if small else ((1080, 1920), 32)
    return [surface_case(size, frames, 8), surface_case(size, frames, 10), surface_case(size, 1, 8)]


def surface_case(size: tuple[int, int], frames: int, bit_depth: int) -> Case:
    planes = surface(size, frames, bit_depth)
    chroma = (planes[1].shape[1], planes[1].shape[2])
    count = counted.frame_grid(frames, size, chroma, SIZE, planes[0].element_size())
    inputs = (*planes, *tables(size, chroma), False, 8 if bit_depth == 8 else 16)
    name = f"{frames} x {size[0]}p {'NV12' if bit_depth == 8 else 'P010'}"
    return Case("frame_grid", name, count, inputs, op, expected=on_rows)


def surface(size: tuple[int, int], frames: int, bit_depth: int) -> tuple[Tensor, Tensor, Tensor]:
    """Views of one piece of memory: luma, then rows of Cb and Cr in turn; values in the high bits.

    Smooth and noisy at once: ``[T, H, W]`` and ``[T, H / 2, W / 2]`` twice.
    """
    height, width = size
    random = torch.Generator().manual_seed(0)
    rows, columns = torch.arange(height * 3 // 2)[:, None], torch.arange(width)
    noise = torch.randint(0, 8, (frames, height * 3 // 2, width), generator=random)
    values = (rows // 4 + columns // 8) % 200 + 16 + noise  # 16..223
    dtype = torch.uint8 if bit_depth == 8 else torch.uint16
    memory = (values << (0 if bit_depth == 8 else 8)).to(dtype)
    chroma = memory[:, height:]
    return memory[:, :height], chroma[..., 0::2], chroma[..., 1::2]


def tables(luma: tuple[int, int], chroma: tuple[int, int]) -> tuple[Tensor, ...]:
    """The tap tables that bring planes of these sizes to the grid."""
    return tuple(grid.tap_tables(luma, chroma, grid.fitted(luma, SIZE, "stretch"), CPU))


def on_rows(y: Tensor, cb: Tensor, cr: Tensor, *rest: Any) -> Tensor:
    """The op on the CPU, where the samples of a row must be adjacent."""
    return op(y.contiguous(), cb.contiguous(), cr.contiguous(), *rest)
