"""Checks the chunks that come in, before anything of them is kept.

Letters: T frames, h w cells, K tokens, D features.
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from patchgate._tensors import arange, whole
from patchgate.gate import MERGED
from patchgate.merging.ledger import Ledger, keep_named
from patchgate.merging.settings import MergeSettings
from patchgate.merging.window import LARGEST_WHOLE
from patchgate.tokens import TokenChunk

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_NO_NUMBERS = (torch.bool, torch.complex32, torch.complex64, torch.complex128)
_LARGEST = 1e18  # squares of larger distances do not fit float32
_ROWS = 4096  # rows that are checked together

_FIELDS: dict[str, tuple[tuple[str | int, ...], torch.dtype | None]] = {
    "features": (("K", "D"), None),
    "source": (("T", "h", "w"), torch.int64),
    "frame": (("K",), torch.int64),
    "cell": (("K", 2), torch.int64),
    "pts_seconds": (("T",), torch.float64),
    "duration_seconds": (("T",), torch.float64),
    "kind": (("T", "h", "w"), torch.uint8),
    "motion": (("T", "h", "w", 2), torch.int8),
    "weights": (("T", "f", "C", 2), torch.int32),
    "lit": (("T", "h", "w"), torch.bool),
}


@dataclass(frozen=True)
class Before:
    """The facts about earlier chunks that the next chunk must fit."""

    settings: MergeSettings
    name: str  # the name of the next chunk in messages
    frames: int = 0
    tokens: int = 0
    features: Tensor | None = None  # [0, D]: their width, dtype and device; None: no chunk came
    grid: tuple[int, int] | None = None  # h, w
    until: float = -math.inf  # seconds: the last frame's time
    # Each token's cell, [2], or [0] if no grid is kept; None: no chunk came.
    cells: Ledger | None = None
    shown: Tensor | None = None  # [h, w]: the tokens in the last frame

    def then(self, chunk: TokenChunk, names: Tensor | None = None) -> Self:
        """Checks a chunk, and returns the facts for the next one.

        Args:
            chunk: the chunk.
            names: ids that later chunks may name, besides those of its last frame; None: any.

        Raises:
            TypeError: a field is no tensor, or has another dtype or device.
            ValueError: a field has another shape, or wrong numbers. The messages name the field.
        """
        self.check(chunk)
        cells = Ledger(2 if self.settings.keep_grid else 0) if self.cells is None else self.cells
        cells = cells.copy()
        cells.append(chunk.cell[:, : cells.width])
        if self.settings.keep_grid:
            self.check_blocks(chunk, cells)
        shown = chunk.source[-1] if len(chunk.source) else self.shown
        if shown is not None:
            keep_named(cells, shown, names)
        return replace(
            self,
            frames=self.frames + len(chunk.kind),
            tokens=self.tokens + len(chunk.frame),
            features=chunk.features.new_empty(0, chunk.features.shape[1]),
            grid=(chunk.source.shape[1], chunk.source.shape[2]),
            until=float(chunk.pts_seconds[-1]) if len(chunk.pts_seconds) else self.until,
            cells=cells,
            shown=shown,
        )

    def check(self, chunk: TokenChunk) -> None:
        """Checks a chunk, but not whether its tokens were merged across blocks before.

        Raises:
            TypeError, ValueError: see ``then``.
        """
        self._check_fields(chunk)
        self._check_likeness(chunk)
        self._check_places(chunk)
        self._check_source(chunk)
        if self.settings.per == "second":
            self._check_clock(chunk.pts_seconds)
        check_features(self.name, chunk.features, chunk.frame, chunk.cell, self.tokens)

    def _check_fields(self, chunk: TokenChunk) -> None:
        """Checks every field's type, and that all fields have as many tokens, frames and cells."""
        size: dict[str | int, int] = {2: 2}
        for name, (letters, dtype) in _FIELDS.items():
            field, value = f"{self.name}.{name}", getattr(chunk, name)
            shape = f"[{', '.join(map(str, letters))}]"
            if value is None and name in ("weights", "lit"):
                continue
            if not isinstance(value, Tensor):
                raise TypeError(f"{field}: expected a tensor {shape}, got {type(value).__name__}")
            if dtype is not None and (value.dtype, value.device.type) != (dtype, "cpu"):
                raise TypeError(
                    f"{field}: expected {dtype} on the CPU, got {value.dtype} on {value.device}"
                )
            if value.ndim != len(letters):
                raise ValueError(f"{field}: expected {shape}, got {list(value.shape)}")
            for letter, length in zip(letters, value.shape, strict=True):
                size.setdefault(letter, length)  # features and source come first, and set them
            wanted = [size[letter] for letter in letters]
            if list(value.shape) != wanted:
                raise ValueError(
                    f"{field}: expected {shape} = {wanted} beside features "
                    f"{list(chunk.features.shape)} and source {list(chunk.source.shape)}, got "
                    f"{list(value.shape)}"
                )

    def _check_likeness(self, chunk: TokenChunk) -> None:
        """Checks that features have the width, dtype, device and grid of those before."""
        if self.features is None or self.grid is None:
            return
        old, new = self.features, chunk.features
        if (old.dtype, old.device) != (new.dtype, new.device):
            raise TypeError(
                f"{self.name}.features: expected {old.dtype} on {old.device} like those before, "
                f"got {new.dtype} on {new.device}"
            )
        if old.shape[1] != new.shape[1]:
            raise ValueError(
                f"{self.name}.features: expected {old.shape[1]} numbers a token like those before, "
                f"got {new.shape[1]}"
            )
        if self.grid != chunk.source.shape[1:]:
            height, width = chunk.source.shape[1:]
            raise ValueError(
                f"{self.name}.source: expected {self.grid[0]} x {self.grid[1]} cells like those "
                f"before, got {height} x {width}"
            )

    def _check_places(self, chunk: TokenChunk) -> None:
        begin, end = self.frames, self.frames + len(chunk.kind)
        frame, grid = chunk.frame, whole(chunk.source.shape[1:])
        stray = frame[(frame < begin) | (frame >= end)]
        if len(stray):
            raise ValueError(
                f"{self.name}.frame: expected tokens of frames {begin}..{end - 1}, counted from "
                f"the video's start, got one of frame {int(stray[0])}"
            )
        falls = (frame.diff() < 0).nonzero().flatten()
        if len(falls):
            at = int(falls[0])
            raise ValueError(
                f"{self.name}.frame: expected tokens in the order of their frames, got one of "
                f"frame {int(frame[at + 1])} after one of frame {int(frame[at])}"
            )
        out = ((chunk.cell < 0) | (chunk.cell >= grid)).any(1).nonzero().flatten()
        if len(out):
            raise ValueError(
                f"{self.name}.cell: expected cells of {grid[0]} x {grid[1]}, got "
                f"{tuple(chunk.cell[int(out[0])].tolist())}"
            )

    def _check_source(self, chunk: TokenChunk) -> None:
        """Checks that the token of every cell is of its frame or an earlier one."""
        every = arange(self.frames, self.frames + len(chunk.source))
        end = self.tokens + torch.searchsorted(chunk.frame, every, right=True)  # [T]
        wrong = ((chunk.source < 0) | (chunk.source >= end[:, None, None])).nonzero()  # [n, 3]
        if len(wrong):
            t, row, column = wrong[0].tolist()
            raise ValueError(
                f"{self.name}.source: expected tokens below {int(end[t])}, of frame "
                f"{self.frames + t} and those before, got {int(chunk.source[t, row, column])} in "
                f"its cell {row, column}"
            )
        if self.cells is not None and bool((gone := self.cells.forgotten(chunk.source)).any()):
            t, row, column = gone.nonzero()[0].tolist()
            raise ValueError(
                f"{self.name}.source: expected tokens that the push before allowed (its names= and "
                f"those of its last frame), got {int(chunk.source[t, row, column])} in cell "
                f"{row, column} of frame {self.frames + t}"
            )

    def _check_clock(self, pts_seconds: Tensor) -> None:
        last = pts_seconds.new_full((1,), self.until)
        wrong = ~(torch.cat([last, pts_seconds]).diff() >= 0) | ~pts_seconds.isfinite()  # [T]
        if bool(wrong.any()):
            at = int(wrong.nonzero()[0])
            before = float(pts_seconds[at - 1]) if at else self.until
            after = f" after {before}" if math.isfinite(before) else ""
            raise ValueError(
                f'{self.name}.pts_seconds: per="second" expects finite times that do not fall, got '
                f"{float(pts_seconds[at])}{after}"
            )

    def check_blocks(self, chunk: TokenChunk, cells: Ledger) -> None:
        """Checks that no token was merged across blocks before; ``cells``: every token's cell."""
        side = self.settings.block
        place = (chunk.kind == MERGED).nonzero()  # [n, 3]
        stands = cells.rows(chunk.source[tuple(place.T)])  # [n, 2]
        wrong = (place[:, 1:] // side != stands // side).any(1).nonzero().flatten()
        if len(wrong):
            frame, *merged = place[int(wrong[0])].tolist()
            raise ValueError(
                f"keep_grid: expected tokens that represent cells of one block of {side} x {side}; "
                f"cell {tuple(merged)} of frame {self.frames + frame} was merged before, into the "
                f"token of cell {tuple(stands[int(wrong[0])].tolist())}"
            )


def check_features(owner: str, features: Tensor, frame: Tensor, cell: Tensor, before: int) -> None:
    """Checks that features can be compared and have means. Synchronises.

    Args:
        owner: the name of their owner in messages.
        features: ``[K, D]``.
        frame: ``[K]``.
        cell: ``[K, 2]``.
        before: the number of tokens before these.

    Raises:
        TypeError: their dtype has no means.
        ValueError: features of a token are not finite, or too large; the message names it.
    """
    dtype = features.dtype
    if dtype not in _FLOATS and (dtype.is_floating_point or dtype in _NO_NUMBERS):
        raise TypeError(
            f"{owner}.features: expected features that are float32, float64, bfloat16, float16 or "
            f"integers, got {dtype}"
        )
    wide = not dtype.is_floating_point and dtype.itemsize == 8
    good = torch.cat([_whole(x) if wide else _of_length(x) for x in features.split(_ROWS)])
    wrong = (~good).nonzero().flatten().cpu()
    if len(wrong):
        first = int(wrong[0])
        where = f"frame {int(frame[first])}, cell {tuple(cell[first].tolist())}"
        limit = f"{dtype} features within 2 ** 53, which float64 has all of"
        limit = limit if wide else f"finite features of a length below {_LARGEST:g}"
        raise ValueError(
            f"{owner}.features: expected {limit}; {len(wrong)} of {len(good)} tokens have others, "
            f"the first is token {before + first} ({where})"
        )


def _of_length(features: Tensor) -> Tensor:
    """Returns which rows have a length whose square fits float32, ``[K]`` bool."""
    return torch.linalg.vector_norm(features.float(), dim=1) < _LARGEST


def _whole(features: Tensor) -> Tensor:
    """Returns which rows of 64-bit integers float64 represents exactly, ``[K]`` bool."""
    signed = features.view(torch.int64)  # unsigned ones from 2 ** 63 on become negative
    least = 0 if features.dtype == torch.uint64 else -LARGEST_WHOLE
    return ((signed >= least) & (signed <= LARGEST_WHOLE)).all(1)
