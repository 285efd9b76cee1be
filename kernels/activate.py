"""Activate on a GPU: which still tokens become active. Definition: ``reference/activate.py``.

There are two launches a frame, because each frame needs the decisions of those before it.

Letters: T frames, M tokens of a frame, H heads, d features of a head.
"""

import torch
from torch import Tensor

from patchgate._check import token_ops as _token_op_checks
from patchgate._tensors import arange
from patchgate.kernels.activate_kernel import admit_kernel, moved_kernel
from patchgate.kernels.launch import Launch, Variant, check_devices, meta, next_power_of_two


def activate(
    out: Tensor,  # [T * M, H, d]
    active: Tensor,  # [T, M]
    differs: Tensor,  # [T]
    parent: Tensor,  # [T, M]
    reach: Tensor,  # [H]
    bound: Tensor,  # [T, M]
    room: int,
) -> tuple[Tensor, Tensor]:  # [T, M], [1]
    """Does what ``patchgate.reference.activate`` does; never synchronises.

    So it cannot check the parents: a token whose parent does not exist inherits from itself.

    Raises:
        TypeError: dtypes that do not fit.
        ValueError: shapes or devices that do not fit.
    """
    _token_op_checks.activate(out, active, differs, parent, reach, bound, room)
    given = {"active": active, "differs": differs, "parent": parent, "reach": reach, "bound": bound}
    check_devices("activate", out, **given)
    frames, m = active.shape
    out, parent, reach, bound = (x.contiguous() for x in (out, parent, reach, bound))
    fired = torch.zeros_like(active, memory_format=torch.contiguous_format)
    maker = arange(frames * m, device=out.device)
    left, late = (room - active.sum())[None], maker.new_zeros(1)
    watched = (~active & differs[:, None]).contiguous()
    wants, made = torch.empty_like(fired[:1].flatten()), maker.new_empty(m)
    for t in range(1, frames):
        moved, admit = _launches(
            out, active.contiguous(), watched, parent, reach, bound, maker, wants, made, fired,
            left, late, t,
        )  # fmt: skip
        moved.run((m,), out)
        admit.run((min(m, 1),), out)
    return fired, late


def _launches(
    out: Tensor,
    active: Tensor,  # [T, M] bool
    watched: Tensor,  # [T, M] bool
    parent: Tensor,  # [T, M]
    reach: Tensor,  # [H]
    bound: Tensor,  # [T, M]
    maker: Tensor,  # [T * M]
    wants: Tensor,  # [M] bool
    made: Tensor,  # [M]
    fired: Tensor,  # [T, M] bool
    left: Tensor,  # [1]
    late: Tensor,  # [1]
    frame: int,
) -> tuple[Launch, Launch]:
    """The kernels of a frame and what they are called with."""
    m, (heads, width) = active.shape[1], out.shape[1:]
    byte = torch.uint8
    arguments = (
        out, watched.view(byte), parent, maker, wants.view(byte), made, reach, bound, frame, m,
        len(maker),
    )  # fmt: skip
    block = next_power_of_two(heads * width)
    options = {"WIDTH": heads * width, "HEAD": max(1, width), "BLOCK": block}
    moved = Launch(moved_kernel, arguments, options)
    admit = Launch(
        admit_kernel,
        (active.view(byte), wants.view(byte), made, maker, fired.view(byte), left, late, frame, m),
        {"BLOCK": 1024},
    )
    return moved, admit


def variants() -> list[Variant]:
    """A frame of so400m (729 tokens of 16 heads of 72), in two dtypes."""
    found = []
    for dtype in (torch.bfloat16, torch.float32):
        mask, slots = meta(32, 729, dtype=torch.bool), meta(32 * 729, dtype=torch.int64)
        some, one = meta(729, dtype=torch.int64), meta(1, dtype=torch.int64)
        reach, bound = meta(16, dtype=torch.float32), meta(32, 729, dtype=torch.float32)
        moved, admit = _launches(
            meta(32 * 729, 16, 72, dtype=dtype), mask, mask, slots.view(32, 729), reach, bound,
            slots, mask[0], some, mask, one, one, 5,
        )  # fmt: skip
        found.append(Variant(f"moved, {str(dtype).removeprefix('torch.')}", moved))
    return [*found, Variant("admit", admit)]
