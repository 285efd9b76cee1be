"""Memory for batches, used again once nobody holds the batch before."""

from __future__ import annotations

import math
import weakref
from collections import defaultdict, deque
from typing import Any

import torch
from torch import Tensor

_KEPT = 2  # of each size: the batch being filled, and the one the caller's loop still holds


class Pool:
    """Gives uninitialised tensors. Their memory comes back when the last view of it is gone.

    Fresh memory costs a page fault every 4 KiB: for large frames that took longer than the copy
    into it. A tensor that the caller keeps simply never comes back.
    """

    def __init__(self) -> None:
        self._free: defaultdict[int, deque[Any]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Like ``torch.empty(shape, dtype=dtype)``, on the CPU."""
        size = math.prod(shape) * dtype.itemsize
        free = self._free[size]
        memory = free.pop() if free else torch.empty(size, dtype=torch.uint8, device="cpu").numpy()
        lent = memory[:]  # the tensor's storage owns this view alone: it dies with the storage
        weakref.finalize(lent, free.append, memory).atexit = False
        return torch.from_numpy(lent).view(dtype).view(shape)
