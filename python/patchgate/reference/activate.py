"""Activate: finds still tokens that have changed their meaning, while there is room."""

import torch
from torch import Tensor

from patchgate._tensors import arange


def activate(
    out: Tensor,  # [T * M, E]
    active: Tensor,  # [T, M]
    differs: Tensor,  # [T]
    parent: Tensor,  # [T, M]
    tolerance: float,
    room: int,
) -> tuple[Tensor, Tensor]:  # [T, M], [1]
    """Runs the closed loop inside a layer (docs/towers.md), frame after frame.

    A token that is not active shows the state of its parent. That was computed from the attention
    output of an earlier token. If the token's own output is farther from that one than
    ``tolerance``, relative to it, the token becomes active: its state is then computed from its own
    output.

    Args:
        out: the attention outputs of all tokens, float.
        active: bool; all tokens of frame 0 are active.
        differs: bool, frames whose tokens show other rows than in the frame before. In other
            frames, only rounding can have changed the outputs.
        parent: int64, flat over ``[T, M]``, a token of an earlier frame.
        tolerance: the relative distance.
        room: the most tokens that may be active in the end. Further ones, in order of frames and
            tokens, stay as they are.

    Returns:
        The tokens that become active, and the number of those for which there is no room.
    """
    frames, m = active.shape
    wide = torch.promote_types(out.dtype, torch.float32)
    norm = torch.linalg.vector_norm(out, dim=1, dtype=wide)
    watched = ~active & differs[:, None]
    # The token from whose attention output each token's state was computed.
    maker = arange(frames * m, device=out.device).view(frames, m)
    left = room - active.sum()
    late, fired = torch.zeros_like(left), torch.zeros_like(active)
    for t in range(1, frames):
        made = maker.flatten()[parent[t]]  # [M]
        moved = (out[t * m : (t + 1) * m].to(wide) - out[made].to(wide)).norm(dim=1)
        distance = (moved / norm[made]).masked_fill(moved == 0, 0)
        wants = watched[t] & (distance > tolerance)
        fired[t] = wants & (wants.cumsum(0) <= left)
        late = late + (wants & ~fired[t]).sum()
        left = left - fired[t].sum()
        maker[t] = torch.where(active[t] | fired[t], maker[t], made)
    return fired, late[None]
