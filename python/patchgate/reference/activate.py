"""Activate: finds still tokens that have changed their meaning, while there is room."""

import torch
from torch import Tensor

from patchgate._tensors import arange


def activate(
    out: Tensor,  # [T * M, H, d]
    active: Tensor,  # [T, M]
    differs: Tensor,  # [T]
    parent: Tensor,  # [T, M]
    reach: Tensor,  # [H]
    bound: Tensor,  # [T, M]
    room: int,
) -> tuple[Tensor, Tensor]:  # [T, M], [1]
    """Runs the closed loop inside a layer (docs/towers.md), frame after frame.

    A token that is not active shows the state of its parent, which was made with the attention
    output of some token before it. It becomes active if its own output ``o`` would move that state
    by more than its bound, ``sqrt(sum_h reach_h^2 |o_h - o_made,h|^2) > bound``: then its state is
    made with its own.

    Args:
        out: the attention outputs of all tokens, float.
        active: bool; all tokens of frame 0 are active.
        differs: bool, frames whose tokens show other rows than in the frame before. In other
            frames, only rounding can have changed the outputs.
        parent: int64, flat over ``[T, M]``, a token of an earlier frame.
        reach: how far each head's output moves the state, float32 (float64 for float64).
        bound: how far a token's state may move, in the dtype of ``reach``.
        room: tokens that may be active in the end. Those that would be too many, in order of frames
            and tokens, stay as they are.

    Returns:
        The tokens that become active, and the number of those for which there is no room.
    """
    frames, m = active.shape
    wide = reach.dtype
    watched = ~active & differs[:, None]
    # The token from whose attention output each token's state was computed.
    maker = arange(frames * m, device=out.device).view(frames, m)
    left = room - active.sum()
    late, fired = torch.zeros_like(left), torch.zeros_like(active)
    for t in range(1, frames):
        made = maker.flatten()[parent[t]]  # [M]
        change = out[t * m : (t + 1) * m].to(wide) - out[made].to(wide)  # [M, H, d]
        moved = (change * reach[:, None]).flatten(1).norm(dim=1)
        wants = watched[t] & (moved > bound[t])
        fired[t] = wants & (wants.cumsum(0) <= left)
        late = late + (wants & ~fired[t]).sum()
        left = left - fired[t].sum()
        maker[t] = torch.where(active[t] | fired[t], maker[t], made)
    return fired, late[None]
