"""Gather on a GPU: kept cells of decoded frames as patch rows.

It stores no intermediate results, and cells that were not kept cost nothing: a call reads the
native samples that kept cells need, and writes their rows. Definition: ``reference/gather.py``;
``csrc/gather.h`` gives the same bits.
"""

import torch
from torch import Tensor

from patchgate._check import ops as _op_checks
from patchgate.colour import chroma_step
from patchgate.kernels.gather_kernel import gather_kernel
from patchgate.kernels.launch import Launch, Variant, check_devices, meta, next_power_of_two

_BITS = {torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}


def gather(
    y: Tensor,  # [T, H', W'] u8 or u16
    cb: Tensor,  # [T, H'', W'']
    cr: Tensor,  # [T, H'', W'']
    index: Tensor,  # [capacity] int64
    taps_x: Tensor,  # [W, 1 + taps] int32
    taps_y: Tensor,  # [H, 1 + taps]
    matrix: Tensor | None,  # [6] int32
    levels: Tensor,  # [3, 256]
    bit_depth: int,
    patch: int,
    merge: int,
    temporal_patch: int,
    channels_last: bool,
    vertical_first: bool,
) -> Tensor:  # [capacity * merge^2, C * f * P * P]
    """The op ``patchgate::gather``, on the current stream; never synchronises.

    Planes may have any strides: NV12's Cb and Cr are every second sample of one plane. P010, whose
    value is in the high bits, counts as 16 bit. The values of tables and indices are not checked,
    because that would synchronise: samples are always read within the picture, and rows of an index
    beyond the last cell are NaN.

    Raises:
        TypeError: dtypes that do not fit.
        ValueError: shapes, devices or numbers that do not fit.
    """
    planes, sides = (y, cb, cr), (patch, merge, temporal_patch)
    _op_checks.gather(planes, index, (taps_x, taps_y), matrix, levels, bit_depth, sides)
    _check_span(planes)
    check_devices("gather", y, cb=cb, cr=cr, index=index, taps_x=taps_x, taps_y=taps_y)
    check_devices("gather", y, matrix=matrix, levels=levels)
    out = levels.new_empty((len(index) * merge * merge, temporal_patch * 3 * patch * patch))
    launch = _launch(
        planes, index, taps_x, taps_y, matrix, levels, out, bit_depth, sides, channels_last,
        vertical_first,
    )  # fmt: skip
    blocks = -(-patch * merge // launch.options["BLOCK"])
    launch.run((len(index), temporal_patch * blocks * blocks), y)
    return out


def _launch(
    planes: tuple[Tensor, Tensor, Tensor],
    index: Tensor,
    taps_x: Tensor,
    taps_y: Tensor,
    matrix: Tensor | None,
    levels: Tensor,
    out: Tensor,
    bit_depth: int,
    sides: tuple[int, int, int],
    channels_last: bool,
    vertical_first: bool,
) -> Launch:
    y, cb, _ = planes
    patch, merge, frames = sides
    bits = _BITS[levels.dtype]  # the kernel only copies levels
    block = min(32, max(16, next_power_of_two(patch * merge)))
    arguments = (
        planes,
        tuple(plane.stride() for plane in planes),
        (*y.shape[1:], *cb.shape[1:]),
        y.shape[0],
        (taps_y.shape[0] // (patch * merge), taps_x.shape[0] // (patch * merge)),
        index.contiguous(),
        taps_x.contiguous(),
        taps_y.contiguous(),
        taps_x.shape[1] - 1,
        taps_y.shape[1] - 1,
        None if matrix is None else matrix.contiguous(),
        levels.contiguous().view(bits),
        out.view(bits),
    )
    options = {
        "BIT_DEPTH": bit_depth,
        "STEP_Y": 1 if matrix is None else chroma_step(y.shape[1], cb.shape[1]),
        "STEP_X": 1 if matrix is None else chroma_step(y.shape[2], cb.shape[2]),
        "PATCH": patch,
        "MERGE": merge,
        "FRAMES": frames,
        "CHANNELS_LAST": channels_last,
        "VERTICAL_FIRST": vertical_first,
        "BLOCK": block,
        "TAPS_X": next_power_of_two(taps_x.shape[1] - 1),
        "TAPS_Y": next_power_of_two(taps_y.shape[1] - 1),
        "OUTER": 32,
        "INNER": 32,
        "num_warps": block // 4,
        "num_stages": 1,
    }
    return Launch(gather_kernel, arguments, options)


def _check_span(planes: tuple[Tensor, Tensor, Tensor]) -> None:
    for plane in planes:  # the place of a sample in its frame must fit int32
        rows, columns = plane.shape[1] - 1, plane.shape[2] - 1
        if rows * plane.stride(1) + columns * plane.stride(2) >= 1 << 31:
            raise ValueError(f"gather: a frame of strides {plane.stride()} spans too much memory")


def variants() -> list[Variant]:
    """A 1080p frame for SigLIP so400m/14 at 378 px, and variants that differ in one point each."""
    return [
        _variant("NV12, fp16"),
        _variant("NV12, fp32", dtype=torch.float32),
        _variant("I420, fp16", nv12=False),
        _variant("P010, fp16", bit_depth=16),
        _variant("RGB, fp16", rgb=True),
        _variant("NV12, fp16, vertical pass first", vertical_first=True),
        _variant("NV12, bf16, patch 16, merge 2, 2 frames", patch=16, merge=2, frames=2),
        _variant("4:4:4, fp16", step=1),
        _variant("4:1:1, fp16", step=4),
    ]


def _variant(
    name: str,
    dtype: torch.dtype = torch.float16,
    *,
    step: int = 2,
    nv12: bool = True,
    rgb: bool = False,
    bit_depth: int = 8,
    patch: int = 14,
    merge: int = 1,
    frames: int = 1,
    vertical_first: bool = False,
) -> Variant:
    sample = torch.uint8 if bit_depth == 8 else torch.uint16
    y = meta(32, 1080, 1920, dtype=sample)
    across, down = 1920 // step, 1080 // min(step, 2)
    if nv12 and step == 2:
        cb, cr = meta(32, down, across, 2, dtype=sample).unbind(-1)
    else:
        cb, cr = (meta(32, down, across, dtype=sample) for _ in range(2))
    if rgb:
        y, cb, cr = meta(32, 3, 1080, 1920, dtype=sample).unbind(1)
    side = 384 // (patch * merge) * patch * merge
    rows = (1024 * merge * merge, 3 * frames * patch * patch)
    launch = _launch(
        (y, cb, cr),
        meta(1024, dtype=torch.int64),
        meta(side, 24, dtype=torch.int32),
        meta(side, 15, dtype=torch.int32),
        None if rgb else meta(6, dtype=torch.int32),
        meta(3, 256, dtype=dtype),
        meta(*rows, dtype=dtype),
        bit_depth,
        (patch, merge, frames),
        False,
        vertical_first,
    )
    return Variant(name, launch)
