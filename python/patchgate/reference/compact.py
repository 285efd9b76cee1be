"""Compaction: the changed cells of every frame as packed indices."""

import math

import torch
from torch import Tensor


def compact(kind: Tensor, capacity: int) -> tuple[Tensor, Tensor, Tensor]:
    """Packs the indices of changed cells (``kind == 2``) in a buffer of fixed capacity.

    Args:
        kind: ``[..., h, w]`` uint8; leading dimensions are frames, in order.
        capacity: length of the buffer.

    Returns:
        index ``[capacity]`` int64, flat over ``kind``, ascending, -1 past the end;
        cu_seqlens ``[frames + 1]`` int32, clamped to the capacity;
        count ``[1]`` int64, all changed cells: more than ``capacity`` means overflow.
    """
    frames = math.prod(kind.shape[:-2])
    changed = kind.reshape(frames, *kind.shape[-2:]) == 2  # [frames, h, w]
    found = changed.flatten().nonzero().flatten()  # [K]
    index = found.new_full((capacity,), -1)
    index[: len(found)] = found[:capacity]
    ends = changed.sum((1, 2)).cumsum(0)  # [frames]
    cu_seqlens = torch.cat([ends.new_zeros(1), ends]).clamp(max=capacity).int()
    return index, cu_seqlens, found.new_tensor([len(found)])
