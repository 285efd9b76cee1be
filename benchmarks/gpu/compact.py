"""Compaction: the kinds of one chunk of a stream, and of 32 streams at once."""

import torch

from gpu import Case, counted

SHARE = 0.1  # of the cells that changed


def cases(small: bool) -> list[Case]:
    return [_case(1, 3 if small else 32), _case(2 if small else 32, 3 if small else 32)]


def _case(streams: int, frames: int) -> Case:
    random = torch.Generator().manual_seed(0)
    changed = torch.rand(streams, frames, 27, 27, generator=random) < SHARE
    kind = changed.to(torch.uint8) * 2
    capacity = kind.numel() // 5
    count = counted.compact(streams * frames, 27 * 27, capacity)
    op = torch.ops.patchgate.compact
    return Case("compact", f"{streams} x {frames} frames", count, (kind, capacity), op)
