"""Gather: 1080p frames, resident on the GPU, to SigLIP so400m/14 at 378 px and base/16 at 224."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gpu import Case
from gpu.floors import Work
from patchgate import _ops
from patchgate.gather import PixelSpec
from patchgate.gather.rows import colour_matrix, pixel_levels, tap_tables

CPU = torch.device("cpu")
SECTOR = 32  # bytes that memory moves at once
# Of a pixel: 14 for chroma between four samples, which two pixels share; 6 multiply-adds with the
# matrix; 3 shifts and 6 clamps.
COLOUR_OPERATIONS = 29
DIGITS = 3  # int8 products that make one of 22 bits


def cases(small: bool) -> list[Case]:
    size = (134, 178) if small else (1080, 1920)
    frames = 2 if small else 32
    so400m = PixelSpec(378, 0.5, 0.5, 14)
    base = PixelSpec(224, 0.5, 0.5, 16)
    qwen = PixelSpec((728, 1288), 0.5, 0.5, 14, merge=2, temporal_patch=2)
    if small:
        so400m, qwen = PixelSpec(56, 0.5, 0.5, 14), PixelSpec(56, 0.5, 0.5, 14, 2, 2)
    half = torch.float16
    return [
        gather_case("so400m/14-378, 10 % kept", size, frames, so400m, 0.1, half),
        gather_case("so400m/14-378, 10 % kept, float32", size, frames, so400m, 0.1, torch.float32),
        gather_case("so400m/14-378, 1 % kept", size, frames, so400m, 0.01, half),
        gather_case("so400m/14-378, all kept", size, frames, so400m, 1.0, half, whole_frames),
        gather_case("so400m/14-378, 10 % kept, 10 bit", size, frames, so400m, 0.1, half, bits=16),
        gather_case("base/16-224, 10 % kept", size, frames, base, 0.1, half),
        gather_case("patch 14, merge 2, pairs, 10 % kept", size, frames, qwen, 0.1, torch.bfloat16),
    ]


def gather_case(
    name: str,
    size: tuple[int, int],
    frames: int,
    spec: PixelSpec,
    share: float,
    dtype: torch.dtype,
    baseline: Callable[..., Any] | None = None,
    bits: int = 8,
) -> Case:
    inputs = make_inputs(size, frames, spec, share, dtype, bits)
    title, work = f"{frames} x {size[0]}p NV12, {name}", counted(inputs, spec)
    return Case("gather", title, work, inputs, _ops.gather, _on_cpu, baseline=baseline)


def make_inputs(
    size: tuple[int, int], frames: int, spec: PixelSpec, share: float, dtype: torch.dtype, bits: int
) -> tuple:
    """The op's arguments: surfaces as a decoder gives them, random, Cb and Cr interleaved."""
    random = torch.Generator().manual_seed(0)
    shapes = [(frames, *size), (frames, -(-size[0] // 2), -(-size[1] // 2), 2)]
    y, chroma = (
        torch.randint(0, 256, shape, generator=random, dtype=torch.uint8) for shape in shapes
    )
    if bits == 16:
        y, chroma = ((plane.int() << 8).to(torch.uint16) for plane in (y, chroma))
    cb, cr = chroma.unbind(-1)
    h, w = spec.cells(*size)
    cells = -(-frames // spec.temporal_patch) * h * w
    index = torch.rand(cells, generator=random).lt(share).nonzero().flatten()
    tables = tap_tables(size, spec, CPU)
    sides = (spec.patch, spec.merge, spec.temporal_patch)
    matrix, levels = colour_matrix("bt709", False, CPU), pixel_levels(spec, dtype, CPU)
    return y, cb, cr, index, *tables, matrix, levels, bits, *sides, False, False


def _on_cpu(y: Tensor, cb: Tensor, cr: Tensor, *rest: object) -> Tensor:
    """The CPU's op wants the samples of a row side by side."""
    return _ops.gather(y, cb.contiguous(), cr.contiguous(), *rest)


def whole_frames(y: Tensor, cb: Tensor, cr: Tensor, *rest: object) -> Tensor:
    """What is done without a gate: all frames to RGB, resized as torchvision does, normalised."""
    size, dtype = y.shape[1:], torch.float16
    planes = [y[:, None], *(F.interpolate(c[:, None].float(), size) for c in (cb, cr))]
    luma, blue, red = (plane.float() for plane in planes)
    rgb = torch.cat([luma + 1.54 * red, luma - 0.18 * blue - 0.46 * red, luma + 1.81 * blue], 1)
    small = F.interpolate(rgb, (378, 378), mode="bicubic", antialias=True)
    return ((small.clamp(0, 255) / 255 - 0.5) / 0.5).to(dtype)


def counted(inputs: tuple, spec: PixelSpec) -> Work:
    """Every native pixel that a kept cell's window holds is read, and made RGB, once."""
    y, _, _, index, taps_x, taps_y, _, levels = inputs[:8]
    rows, columns = windows(taps_y, spec.cell), windows(taps_x, spec.cell)
    h, w = len(rows), len(columns)
    reached = torch.zeros(y.shape, dtype=torch.bool)  # [T, H', W']
    for cell in index.tolist():
        (top, bottom), (left, right) = rows[cell // w % h], columns[cell % w]
        start = cell // (h * w) * spec.temporal_patch
        reached[start : start + spec.temporal_patch, top:bottom, left:right] = True
    outputs = len(index) * spec.temporal_patch * spec.cell**2
    # Both passes of every output, as if no two cells shared a row of the first.
    shrunk = y.shape[1] / len(taps_y)
    products = 3 * outputs * ((taps_x.shape[1] - 1) * max(1.0, shrunk) + taps_y.shape[1] - 1)
    return Work(
        bytes=sectors(reached, y.element_size()) + 3 * outputs * levels.element_size(),
        integer=COLOUR_OPERATIONS * int(reached.sum()),
        int8_matrix=int(2 * DIGITS * products),
    )


def sectors(reached: Tensor, sample_bytes: int) -> int:
    """Bytes of the sectors that hold these luma samples and their chroma: half as many rows."""
    padded = F.pad(reached, (0, -reached.shape[2] % (SECTOR // sample_bytes)))
    luma = padded.unflatten(2, (-1, SECTOR // sample_bytes)).any(3)  # [T, H', sectors]
    chroma = luma[:, ::2].clone()
    chroma[:, : luma.shape[1] // 2] |= luma[:, 1::2]
    return SECTOR * int(luma.sum() + chroma.sum())


def windows(taps: Tensor, cell: int) -> list[tuple[int, int]]:
    """Returns for every cell along an axis the native samples that it reaches: from, to."""
    first = taps[:, 0].view(-1, cell)
    last = first.amax(1) + taps.shape[1] - 1
    return list(zip(first.amin(1).tolist(), last.tolist(), strict=True))
