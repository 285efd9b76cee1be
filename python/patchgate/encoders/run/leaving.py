"""What follows the last computed layer: the tower's last norm and its pooling.

A tower that ends at an earlier layer has neither: see ``Tower.ends_after``.

Letters: T frames, M tokens of a frame, R packed rows, F frames that are pooled, D features, n
numbers for pooling.
"""

from torch import Tensor

from patchgate.encoders.tower import Tower


def features(tower: Tower, rows: Tensor) -> Tensor:
    """Makes features of the last layer's output ``[R, D]``: see ``Tower.leave``."""
    return tower.leave(rows) if tower.ends_after is None else rows


def pool_entry(tower: Tower, rows: Tensor) -> Tensor | None:
    """Returns what pooling needs of features ``[R, D]``, ``[R, n]``: see ``Tower.pool_entry``."""
    return tower.pool_entry(rows) if tower.ends_after is None else None


def pools(tower: Tower) -> bool:
    """Whether ``pooled`` gives a vector a frame: see ``Tower.pools``."""
    return tower.pools and tower.ends_after is None


def pooled(tower: Tower, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
    """Pools F of the frames ``[T, M, D]`` to ``[F, D]``; ``entry`` is ``[F, M, n]``.

    See ``Tower.pool``.
    """
    return tower.pool(dense, entry, frames) if tower.ends_after is None else None


def pool_flops(tower: Tower, frames: int, tokens: int, dense: bool) -> float:
    """Counts the operations of pooling: see ``Tower.pool_flops``."""
    return tower.pool_flops(frames, tokens, dense) if tower.ends_after is None else 0.0
