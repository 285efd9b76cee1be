"""Activate: 32 frames of so400m/14 at 378 px, a tenth of whose tokens is active already.

What it costs at least is to read every output once, and the one that it is compared with. It is two
launches a frame, one after the other, timed as they come and not from a captured graph.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpu import Case
from gpu.floors import Work
from patchgate import _ops


def cases(small: bool) -> list[Case]:
    return [_case(dtype, small) for dtype in (torch.bfloat16, torch.float32)]


def _case(dtype: torch.dtype, small: bool) -> Case:
    frames, tokens, heads, width = (3, 60, 2, 72) if small else (32, 729, 16, 72)
    random = torch.Generator().manual_seed(0)
    # Every frame is near the one before: few tokens are as far from it as the tolerance.
    first = torch.randn(tokens, heads, width, generator=random)
    drift = torch.rand(frames, tokens, 1, 1, generator=random).mul_(0.08).cumsum(0)
    out = (first * (1 + drift)).flatten(0, 1).to(dtype)
    active = torch.rand(frames, tokens, generator=random) < 0.1
    active[0] = True
    differs = torch.ones(frames, dtype=torch.bool)
    differs[0] = False
    own = torch.arange(frames * tokens).view(frames, tokens)
    parent = torch.cat([own[:1], own[:-1]])
    room = int(active.sum()) + frames * tokens // 4
    reach = torch.full((heads,), (heads * width) ** -0.5)  # of a state of norm 1
    bound = torch.full((frames, tokens), 0.0501)
    read = 2 * (frames - 1) * tokens * heads * width
    work = Work(read * out.element_size() + 30 * out.shape[0], float32=2 * read)
    name = f"{frames} frames of {tokens} tokens, {str(dtype).removeprefix('torch.')}"
    inputs = (out, active, differs, parent, reach, bound, room)
    return Case("activate", name, work, inputs, _ops.activate, agree=_nearly)


def _nearly(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Rounding may let a decision on the edge fall the other way, and the room goes to another."""
    return bool((ours[0] != theirs[0]).float().mean() < 1e-3)
