"""What the gate's oracle knows of a cell, and what it says of a frame."""

from dataclasses import dataclass

import numpy as np

Vector = tuple[int, int]
Array = np.ndarray
STATIC, MOVED, CHANGED = 0, 1, 2
ZERO: Vector = (0, 0)


@dataclass
class Cell:
    """What is known of one cell of one frame while it is decided."""

    limit: float  # the frame's limit times the cell's factor; inf: every vector passes
    tested: dict[Vector, int]  # the cost of every vector that was tested
    best: Vector | None = None  # the minimum of the search, whether it passes or not
    kind: int = STATIC
    used: Vector = ZERO

    @property
    def explained(self) -> bool:
        return any(self.tested[v] <= self.limit for v in (ZERO, self.best) if v in self.tested)

    @property
    def cost(self) -> int:
        """The cost of the vector used; changed: the least tested."""
        return min(self.tested.values()) if self.kind == CHANGED else self.tested[self.used]


@dataclass
class Frame:
    """The result for one frame (tubelet)."""

    kind: Array  # [h, w]
    motion: Array  # [h, w, 2]
    cost: Array  # [h, w]
    source: Array  # [h, w]
    is_key: bool
    limit: int
    weights: Array  # [f, C, 2]; [0, C, 2] without illumination
    lit: Array  # [h, w]; [0, w] without illumination
