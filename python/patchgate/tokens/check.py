"""Checks the fields of ``VideoTokens``. No other place knows what they may be.

The checks use numpy. A field that is as large as the video has cells is checked a few frames at a
time: what is read twice is then still in the cache.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w,
K tokens, D features, n some of the T * N cells.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchgate.gate import CHANGED, MOVED, RETURNED, STATIC
from patchgate.tokens.check_layout import wrong_grid, wrong_ids, wrong_layout, wrong_light

Numbers = NDArray[Any]

FIELDS: dict[str, tuple[tuple[str | int, ...], torch.dtype | None]] = {
    "features": (("K", "D"), None),
    "source": (("T", "h", "w"), torch.int64),
    "frame": (("K",), torch.int64),
    "cell": (("K", 2), torch.int64),
    "span": (("K",), torch.int64),
    "pts_seconds": (("T",), torch.float64),
    "duration_seconds": (("T",), torch.float64),
    "cu_seqlens": (("T + 1",), torch.int32),
    "kind": (("T", "h", "w"), torch.uint8),
    "motion": (("T", "h", "w", 2), torch.int8),
}
OPTIONAL = {
    "start_picture": torch.uint8,
    "start_ids": torch.int32,
    "weights": torch.int32,
    "lit": torch.bool,
}

_MOST_PIXELS = 2**31 - 1  # the most pixels of a picture (or cells, if their size is not known)
_MOST_FRAMES = 2**53  # the most frames before a slice
_TOGETHER = 1 << 17  # cells that are checked together


def contradiction(
    tensors: Mapping[str, Tensor],
    layout: Mapping[str, Any] | None,
    grid: Mapping[str, Any] | None = None,
) -> str | None:
    """Says what is wrong with a video's tokens, or which fields contradict each other; None if
    nothing is.

    All fields are read, but not the values of the features and of the start picture.

    Args:
        tensors: the fields by name: those of ``FIELDS``, and perhaps those of ``OPTIONAL``.
        layout: the fields of a ``TokenLayout``, if the features are pixels.
        grid: those of a ``TokenGrid``, if they are a tower's.
    """
    wrong = _wrong_fields(tensors) or wrong_layout(tensors, layout)
    wrong = wrong or wrong_grid(tensors, layout, grid) or wrong_light(tensors, layout)
    if wrong:
        return wrong
    others = {name: value for name, value in tensors.items() if name != "features"}
    fields = {name: value.numpy(force=True) for name, value in others.items()}
    return (
        _wrong_tokens(fields)
        or _wrong_times(fields)
        or _wrong_cells(fields, layout, grid)
        or wrong_ids(tensors, grid)
    )


def _wrong_fields(tensors: Mapping[str, Tensor]) -> str | None:
    """Checks names, dtypes and shapes."""
    missing = [name for name in FIELDS if name not in tensors]
    unknown = [name for name in tensors if name not in FIELDS and name not in OPTIONAL]
    if missing or unknown:
        return f"expected {', '.join(FIELDS)}, got {', '.join(sorted(tensors))}"
    size: dict[str | int, int] = {2: 2}
    for name, (letters, dtype) in FIELDS.items():
        value = tensors[name]
        shape = f"{name} [{', '.join(map(str, letters))}]"
        if dtype is not None and value.dtype != dtype:
            return f"expected {name} of {dtype}, got {value.dtype}"
        if value.dim() != len(letters):
            return f"expected {shape}, got {list(value.shape)}"
        for letter, length in zip(letters, value.shape, strict=True):
            size.setdefault(letter, length)  # features and source come first, and set them
        size["T + 1"] = size.get("T", 0) + 1
        wanted = [size[letter] for letter in letters]
        if list(value.shape) != wanted:
            return f"expected {shape} = {wanted}, got {list(value.shape)}"
    if not 0 < size["h"] * size["w"] <= _MOST_PIXELS:
        return f"expected 1 to 2^31 cells, got {size['h']} x {size['w']}"
    dtype = tensors["features"].dtype
    if dtype == torch.bool or dtype.is_complex:
        return f"expected features that are numbers, got {dtype}"
    return None


def _wrong_tokens(fields: Mapping[str, Numbers]) -> str | None:
    """Checks that the tokens' places agree with each other."""
    ends = fields["cu_seqlens"].astype(np.int64)  # [T + 1]
    (t, h, w), k = fields["source"].shape, len(fields["frame"])
    counts, first = np.diff(ends), int(ends[0])
    if first < 0 or int(ends[-1]) != k or (t and int(counts.min()) < 0):
        return f"cu_seqlens does not lead up to {k} tokens"
    frame, (row, column) = fields["frame"], fields["cell"].T
    if k and not (0 <= row.min() <= row.max() < h and 0 <= column.min() <= column.max() < w):
        return f"cell: expected cells of {h} x {w}, got others"
    if bool(((frame[:first] >= 0) | (frame[:first] < -_MOST_FRAMES)).any()):
        return f"frame: expected negative ones of the first {first} tokens, got others"
    later, after = np.diff(frame[:first]), np.diff(row[:first] * w + column[:first])
    if bool(((later < 0) | ((later == 0) & (after <= 0))).any()):
        return "frame, cell: expected earlier tokens in the order in which they were emitted"
    if not np.array_equal(frame[first:], np.repeat(np.arange(t), counts)):
        return "frame: expected those that cu_seqlens says"
    return None


def _wrong_times(fields: Mapping[str, Numbers]) -> str | None:
    pts, duration = fields["pts_seconds"], fields["duration_seconds"]  # [T] each
    if not np.isfinite(pts).all() or bool((pts[1:] < pts[:-1]).any()):
        return "pts_seconds: expected finite times that do not fall"
    if not np.isfinite(duration).all() or bool((duration < 0).any()):
        return "duration_seconds: expected finite numbers of 0 or more"
    return None


def _wrong_cells(
    fields: Mapping[str, Numbers],
    layout: Mapping[str, Any] | None,
    grid: Mapping[str, Any] | None,
) -> str | None:
    """Checks the tables of cells."""
    frames, n = len(fields["source"]), math.prod(fields["source"].shape[1:])
    ends = fields["cu_seqlens"].astype(np.int64)
    last = fields["frame"].copy()  # [K]: the last frame that shows each token
    step = max(1, _TOGETHER // n)
    for t in range(0, frames, step):
        part = _Part(fields, ends, t, min(frames, t + step))
        wrong = part.wrong_kinds() or part.wrong_motion(layout or grid) or part.wrong_sources()
        if not wrong and layout is not None:
            wrong = part.wrong_pixels("start_picture" in fields)
        if wrong:
            return wrong
        part.note_last(last)
    if frames:
        last[fields["source"][-1].ravel()] = frames - 1
    under = fields.get("start_ids", np.empty(0, np.int32))  # parts of these are shown
    if not np.isin(np.flatnonzero(last[: ends[0]] < 0), under).all():
        return "source: expected each of the earlier tokens to be shown by these frames"
    last -= fields["frame"]
    last += 1
    if not np.array_equal(last, fields["span"]):
        return "span: expected frames from the token's own to the last that shows it"
    return None


class _Part:
    """Some frames, begin to end. Places are flat over their cells.

    ``turned`` are those that show another token than in the frame before (of the first frame of
    all, every one): what the others show was checked there.
    """

    def __init__(self, fields: Mapping[str, Numbers], ends: Numbers, begin: int, end: int) -> None:
        source, self.begin, self.ends = fields["source"], begin, ends
        self.h, self.w = source.shape[1:]
        self.n = self.h * self.w
        self.source, self.kind = source[begin:end].ravel(), fields["kind"][begin:end].ravel()
        self.motion = np.ascontiguousarray(fields["motion"][begin:end]).reshape(-1, 2)
        if begin:
            before = source[begin - 1 : end - 1].ravel()
            self.turned = np.flatnonzero(self.source != before)
            self.before = before[self.turned]
        else:  # nothing is shown before the first frame
            after = np.flatnonzero(self.source[self.n :] != self.source[: -self.n])
            self.turned = np.concatenate([np.arange(self.n), after + self.n])
            self.before = self.source[after]
        self.shown = self.source[self.turned]
        # Counted, not divided: that would take half of the time.
        counts = np.diff(np.searchsorted(self.turned, np.arange(end - begin + 1) * self.n))
        self.frame = np.repeat(np.arange(begin, end), counts)
        own = slice(int(ends[begin]), int(ends[end]))
        self.own, self.cell = np.arange(own.start, own.stop), fields["cell"][own]
        self.place = fields["frame"][own] - begin
        self.place *= self.h
        self.place += self.cell[:, 0]
        self.place *= self.w
        self.place += self.cell[:, 1]

    def wrong_kinds(self) -> str | None:
        """Checks the kinds of cells against the tokens that they emitted."""
        if self.kind.max() > RETURNED:
            return f"kind: expected 0..{RETURNED}, got {self.kind.max()}"
        if bool((self.place[1:] <= self.place[:-1]).any()):
            return "cell: expected each once in a frame, in reading order"
        changed = np.count_nonzero(self.kind == CHANGED)
        if np.count_nonzero(self.kind[self.place] == CHANGED) != changed:
            return "kind: expected a token of its own for every changed cell"
        return None

    def wrong_motion(self, layout: Mapping[str, Any] | None) -> str | None:
        """Checks that only moved cells have vectors, and that these begin inside the picture.

        Args:
            layout: the fields of a layout or a grid, which say what vectors count in.
        """
        moving = np.flatnonzero(self.motion.view(np.int16) != 0)  # two numbers as one
        if not len(moving):
            return None
        if bool((self.kind[moving] != MOVED).any()):
            return "motion: expected 0 of cells that have not moved"
        if layout is None:
            return None
        cell = layout["cell"] * layout.get("motion_precision", 1)  # in steps
        dy, dx = self.motion[moving].T.astype(np.int64)
        top, left = moving // self.w % self.h * cell + dy, moving % self.w * cell + dx
        bottom, right = (self.h - 1) * cell, (self.w - 1) * cell
        if bool(((top < 0) | (top > bottom) | (left < 0) | (left > right)).any()):
            return "motion: a vector leads out of the picture"
        return None

    def wrong_sources(self) -> str | None:
        """Checks which tokens the cells show."""
        if bool(((self.shown < 0) | (self.shown >= self.ends[self.frame + 1])).any()):
            return "source refers to tokens that its frame and those before have not emitted"
        if not np.array_equal(self.source[self.place], self.own):
            return "source: expected every token in its own cell of its own frame"
        return None

    def wrong_pixels(self, starts: bool) -> str | None:
        """Checks what rebuilding the video needs beyond that."""
        kind, first = self.kind[self.turned], self.frame == 0
        if np.count_nonzero(self.kind == CHANGED) != len(self.own):
            return "kind: expected tokens of pixels of changed cells only"
        if bool(((kind == STATIC) & ~first).any()):
            return "source: expected cells that stand still to show what they did before"
        earlier = (kind < CHANGED) | (kind == RETURNED)
        if bool((earlier & (self.shown >= self.ends[self.frame])).any()):
            return "source: expected cells that stand still, move or return to show earlier tokens"
        if not starts and bool(((kind < CHANGED) & first).any()):
            return "kind: expected a first frame of changed cells, or a start_picture"
        return None

    def note_last(self, last: Numbers) -> None:
        """Notes in ``last`` ``[K]`` the last frame that shows each token."""
        after = self.frame[len(self.frame) - len(self.before) :]
        last[self.before] = after - 1  # in order of time: the last one stays
