"""Candidate frames, from which a policy chooses, and their statistics.

Letters: N candidates, D features of a frame, n some of the candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from patchgate._tensors import arange, as_given, doubles

Scorer = Callable[[Tensor], Tensor]  # candidates [n] int64 -> scores [n]

_SOURCES = {
    "key": "patchgate.policies.container_frames",
    "delta": "patchgate.policies.frame_statistics",
    "keep": "patchgate.policies.frame_statistics",
    "feat": "patchgate.policies.DualEncoder, or an encoder of yours",
    "rel": "patchgate.policies.DualEncoder, or scores of yours",
}


@dataclass(frozen=True, eq=False)
class Frames:
    """Candidate frames in order of time. Only fields that the chosen policy needs must be given.

    Lists and numpy arrays become tensors on the CPU.

    Raises:
        TypeError, ValueError: a field has another length than ``pts``, times or numbers do not
            rise, or values are not finite.
    """

    pts: Tensor  # [N] float64: seconds, rising
    index: Tensor | None = None  # [N] int64: number in the stream, rising; None: 0, 1, 2, ...
    key: Tensor | None = None  # [N] bool: a decoder can start here
    delta: Tensor | None = None  # [N] float64: difference from the reference picture, 0..1
    keep: Tensor | None = None  # [N] float64: share of the cells that the gate encodes, 0..1
    motion: Tensor | None = None  # [N] float64: mean length of the cells' vectors, in cells
    cut: Tensor | None = None  # [N] bool: the gate encoded every cell
    sharp: Tensor | None = None  # [N] float64: variance of the luma's Laplacian
    feat: Tensor | None = None  # [N, D]: of a small encoder; normalised where it is compared
    rel: Tensor | Scorer | None = None  # [N] scores for a query, or a function that computes them

    def __post_init__(self) -> None:
        pts = column("Frames.pts", self.pts, torch.float64)
        object.__setattr__(self, "pts", pts)
        index = arange(len(pts)) if self.index is None else self.index
        object.__setattr__(self, "index", column("Frames.index", index, torch.int64, len(pts)))
        for name in ("pts", "index"):
            values = getattr(self, name)
            falls = (values.diff() <= 0).nonzero().flatten()
            if len(falls):
                before, after = values[falls[0]].item(), values[falls[0] + 1].item()
                raise ValueError(
                    f"Frames.{name}: expected values that rise from frame to frame, got {after} "
                    f"after {before} at position {int(falls[0]) + 1}"
                )
        for name in ("key", "cut", "delta", "keep", "motion", "sharp", "rel"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                kind = torch.bool if name in ("key", "cut") else torch.float64
                object.__setattr__(self, name, column(f"Frames.{name}", value, kind, len(pts)))
        if self.feat is not None:
            object.__setattr__(self, "feat", _features(self.feat, len(pts)))

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def number(self) -> Tensor:
        """``[N]`` int64: ``index``, which is always there once the frames are made."""
        assert self.index is not None
        return self.index

    @property
    def seconds(self) -> float:
        """The duration of all candidates; the last one is counted with the mean of the others."""
        n = len(self)
        return float(self.pts[-1] - self.pts[0]) * n / (n - 1) if n > 1 else 0.0

    def need(self, name: str) -> Tensor:
        """Returns a statistic that a policy needs, ``[N]`` or ``[N, D]``.

        Raises:
            ValueError: it is not set; the message says where it comes from.
        """
        value = getattr(self, name)
        if value is None:
            raise ValueError(
                f"this policy needs Frames.{name}, which is not set; it comes from {_SOURCES[name]}"
            )
        if callable(value):
            return self.score(arange(len(self)))
        return value

    def score(self, candidates: Tensor) -> Tensor:
        """Returns the scores of some candidates for the query, ``[n]`` float64.

        If ``rel`` is a function, it is called for these candidates only, and not for none.

        Raises:
            ValueError: ``rel`` is not set, or the function returns another number of scores, or
                scores that are not finite.
        """
        if self.rel is None:
            self.need("rel")
        if callable(self.rel):
            scores = self.rel(candidates) if len(candidates) else doubles([])
            return column("Frames.rel", scores, torch.float64, len(candidates))
        assert self.rel is not None
        return self.rel[candidates]

    def at(self, positions: Tensor) -> Self:
        """Returns only these candidates: rising positions ``[n]``, or a mask ``[N]``."""
        positions = positions_among(len(self), positions)
        chosen: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            chosen[field.name] = value[positions] if isinstance(value, Tensor) else value
        if callable(self.rel):
            scorer = self.rel
            chosen["rel"] = lambda candidates: scorer(positions[candidates])
        return replace(self, **chosen)


def positions_among(n: int, positions: Any) -> Tensor:
    """Checks positions among n candidates, and returns them as ``[m]`` int64.

    A mask ``[n]`` gives the positions where it is true.

    Raises:
        TypeError: the positions are not a vector of whole numbers.
        ValueError: a position is not in 0..n - 1.
    """
    at = as_given(positions).cpu()
    if at.dtype == torch.bool and at.shape == (n,):
        return at.nonzero().flatten()
    if at.dim() != 1 or (len(at) and (at.is_floating_point() or at.dtype == torch.bool)):
        raise TypeError(f"positions: expected whole numbers [m], got {at.dtype} {list(at.shape)}")
    at = at.long()
    strange = at[(at < 0) | (at >= n)]
    if len(strange):
        raise ValueError(f"positions: expected 0..{n - 1}, got {int(strange[0])}")
    return at


def _tensor(name: str, value: Any) -> Tensor:
    try:
        return as_given(value).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name}: expected numbers, got {value!r:.80}") from error


def column(name: str, value: Any, dtype: torch.dtype, length: int | None = None) -> Tensor:
    """Checks a vector of finite numbers, and returns it on the CPU in the given dtype.

    Raises:
        TypeError: the values are not real numbers or, for int64, not whole ones.
        ValueError: the values are not a vector of this length, or not finite.
    """
    tensor = _tensor(name, value)
    if tensor.is_complex():
        raise TypeError(f"{name}: expected real numbers, got {tensor.dtype}")
    if dtype == torch.int64 and tensor.is_floating_point():
        raise TypeError(f"{name}: expected whole numbers, got {tensor.dtype}")
    tensor = tensor.to(dtype)
    if tensor.dim() != 1 or (length is not None and len(tensor) != length):
        wanted = "[N]" if length is None else f"[{length}]"
        raise ValueError(f"{name}: expected shape {wanted}, got {list(tensor.shape)}")
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    return tensor


def _features(value: Any, length: int) -> Tensor:
    tensor = _tensor("Frames.feat", value)
    shaped = tensor.dim() == 2 and len(tensor) == length and tensor.shape[1] > 0
    if not shaped or not tensor.is_floating_point():
        raise ValueError(
            f"Frames.feat: expected floats [{length}, D], D > 0, got {tensor.dtype} "
            f"{list(tensor.shape)}"
        )
    if not bool(tensor.isfinite().all()):
        raise ValueError("Frames.feat: expected finite numbers, got NaN or infinity")
    return tensor
