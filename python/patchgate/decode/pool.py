"""Memory for batches, which is used again when nobody holds its earlier batch any more."""

from __future__ import annotations

import math
import weakref
from collections import defaultdict, deque
from typing import Any

import torch
from torch import Tensor

_KEPT = 2  # blocks kept of each size: one is being filled, the caller still holds the other


class Pool:
    """Makes uninitialised tensors. Their memory is used again when the last view of it is gone.

    New memory costs a page fault every 4 KiB. For large frames, that took longer than the copy into
    it. The memory of a tensor that the caller keeps is not used again.
    """

    def __init__(self) -> None:
        self._free: defaultdict[int, deque[Any]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Does what ``torch.empty(shape, dtype=dtype)`` does, on the CPU."""
        size = math.prod(shape) * dtype.itemsize
        free = self._free[size]
        memory = free.pop() if free else torch.empty(size, dtype=torch.uint8, device="cpu").numpy()
        lent = memory[:]  # only the tensor's storage owns this view: both are freed together
        weakref.finalize(lent, free.append, memory).atexit = False
        return torch.from_numpy(lent).view(dtype).view(shape)
