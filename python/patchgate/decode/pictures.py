"""Frames that are in memory already, as a FrameBatch has them: planes and times.

Letters: T frames, C channels, H W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from patchgate._tensors import as_given, doubles
from patchgate.colour import check_chroma, colour_matrix, rgb_to_ycbcr
from patchgate.reference.gather import rgb_planes

from .frames import Colour

Planes = tuple[Tensor, Tensor, Tensor]
Channels = Literal["rgb", "bgr"]

FULL_RANGE = Colour("bt601", full_range=True)  # of the planes that RGB becomes
_EXPECTED = "expected pictures [T, H, W, 3] or [T, 3, H, W] (or one of them) of uint8"


def planes_of(caller: str, frames: Any, channels: Channels) -> Planes:
    """Turns RGB or BGR pictures into Y, Cb and Cr of full range, ``[T, H, W]`` uint8 each.

    It works frame by frame, so that it needs little more memory than the planes.

    Args:
        caller: the name of the called function, for messages.
        frames: what ``FrameBatch.from_rgb`` takes.
    """
    rgb = checked_pictures(caller, frames, channels)  # [T, C, H, W]
    t, _, height, width = rgb.shape
    y, cb, cr = (rgb.new_empty((t, height, width)) for _ in range(3))
    for at, picture in enumerate(rgb):
        ordered = picture if channels == "rgb" else picture.flip(0)  # [C, H, W]
        y[at], cb[at], cr[at] = rgb_to_ycbcr(ordered)
    return y, cb, cr


def checked_pictures(caller: str, frames: Any, channels: Channels = "rgb") -> Tensor:
    """Returns pictures as ``[T, 3, H, W]`` uint8, a view where that is possible."""
    if is_pil(frames):
        frames = _from_pil(caller, frames, channels)
    if isinstance(frames, list | tuple):
        return _stacked(caller, frames, channels)
    if not isinstance(frames, Tensor | np.ndarray):
        raise TypeError(f"{caller}: {_EXPECTED}, got {type(frames).__name__}")
    if frames.dtype not in (torch.uint8, np.uint8):
        raise TypeError(
            f"{caller}: expected uint8 in 0..255, got {frames.dtype}; {_advice(frames)}"
        )
    given = as_given(frames)
    if given.is_nested or given.layout != torch.strided or given.is_meta:
        raise TypeError(f"{caller}: {_EXPECTED}, got {given.layout} on {given.device}")
    if given.dim() not in (3, 4):
        raise ValueError(f"{caller}: {_EXPECTED}, got {list(given.shape)}")
    batch = given if given.dim() == 4 else given[None]
    first, last = batch.shape[1] == 3, batch.shape[3] == 3
    if first and last:
        raise ValueError(
            f"{caller}: {_EXPECTED}, got {list(given.shape)}, which may be either: crop or pad it"
        )
    if not first and not last:
        raise ValueError(f"{caller}: {_EXPECTED}, got {list(given.shape)}{_other(batch)}")
    batch = batch if first else batch.permute(0, 3, 1, 2)
    if 0 in batch.shape[2:]:
        raise ValueError(f"{caller}: expected pictures with pixels, got {list(given.shape)}")
    return batch


def is_pil(picture: Any) -> bool:
    """Whether it is an image of PIL, which need not be imported for this."""
    return any(base.__module__ == "PIL.Image" for base in type(picture).__mro__)


def _from_pil(caller: str, picture: Any, channels: Channels) -> Any:
    if channels == "bgr":
        raise TypeError(f"{caller}: images of PIL are RGB; give them to FrameBatch.from_rgb")
    return np.asarray(picture.convert("RGB"))


def _stacked(caller: str, frames: Sequence[Any], channels: Channels) -> Tensor:
    """Joins a list of single pictures, or of batches."""
    if not frames:
        raise ValueError(f"{caller}: {_EXPECTED}, got an empty list")
    parts = [checked_pictures(f"{caller}: frame {i}", each, channels)
             for i, each in enumerate(frames)]  # fmt: skip
    for i, part in enumerate(parts):
        if part.shape[2:] != parts[0].shape[2:] or part.device != parts[0].device:
            raise ValueError(
                f"{caller}: expected pictures of one size on one device, got "
                f"{list(parts[0].shape[2:])} on {parts[0].device} and, as frame {i}, "
                f"{list(part.shape[2:])} on {part.device}"
            )
    return torch.cat(parts)


def _advice(frames: Tensor | np.ndarray) -> str:
    """Says how frames of another dtype become uint8."""
    if "float" in str(frames.dtype):
        convert = ".to(torch.uint8)" if isinstance(frames, Tensor) else ".astype('uint8')"
        return (
            f"pictures in 0..1 become that by (frames * 255).round(){convert}; pixel_values that a "
            "processor has normalised go to the tower itself, gated(...)(pixel_values)"
        )
    return "bring the values to 0..255 and convert them"


def _other(batch: Tensor) -> str:
    """Says what to do with channels that are not RGB."""
    if 4 in (batch.shape[1], batch.shape[3]):
        return "; leave alpha out: frames[..., :3] or frames[:, :3]"
    return "; grey pictures need their channel three times, as np.stack([grey] * 3, -1) makes it"


def times_of(
    caller: str, frames: int, pts_seconds: Any, duration_seconds: Any
) -> tuple[Tensor, Tensor]:
    """Returns times and durations as float64 ``[T]`` on the CPU; NaN if they are not known."""
    unknown = torch.full((frames,), torch.nan, dtype=torch.float64, device="cpu")
    if pts_seconds is None:
        if duration_seconds is not None:
            raise ValueError(f"{caller}: duration_seconds has no meaning without pts_seconds")
        return unknown, unknown.clone()
    pts = _seconds(f"{caller}: pts_seconds", pts_seconds, frames)
    if bool((pts.diff() < 0).any()):
        raise ValueError(f"{caller}: pts_seconds: expected times that do not fall, in seconds")
    if duration_seconds is not None:
        durations = _seconds(f"{caller}: duration_seconds", duration_seconds, frames)
        if bool((durations < 0).any()):
            raise ValueError(
                f"{caller}: duration_seconds: expected 0 or more, got {float(durations.min()):g}"
            )
        return pts, durations
    return pts, until_next(pts)


def until_next(pts: Tensor) -> Tensor:
    """Returns the seconds to the next frame, ``[T]``: of the last one those of the one before it.

    Those of a single frame are NaN: they are not known.
    """
    steps = pts.diff()
    return torch.cat([steps, steps[-1:] if len(steps) else pts.new_full((len(pts),), torch.nan)])


def _seconds(name: str, values: Any, frames: int) -> Tensor:
    try:
        given = as_given(values)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{name}: expected seconds [{frames}], got {values!r}") from None
    if given.dtype == torch.bool or given.is_complex():
        raise TypeError(f"{name}: expected seconds, got {given.dtype}")
    seconds = given.reshape(-1) if given.dim() == 0 else given
    if seconds.shape != (frames,):
        raise ValueError(f"{name}: expected one for each of {frames} frames, got "
                         f"{list(given.shape)}")  # fmt: skip
    seconds = seconds.to("cpu", torch.float64)
    if not bool(seconds.isfinite().all()):
        raise ValueError(f"{name}: expected finite seconds, got {seconds.tolist()[:8]}")
    return seconds


def rgb_of(planes: Planes, colour: Colour) -> Tensor:
    """Turns planes into uint8 RGB ``[T, 3, H, W]`` on their device, frame by frame."""
    check_chroma(planes)
    matrix = colour_matrix(colour.matrix, colour.full_range, planes[0].device)
    t, height, width = planes[0].shape
    out = torch.empty((t, 3, height, width), dtype=torch.uint8, device=planes[0].device)
    for at in range(t):
        y, cb, cr = (plane[at : at + 1] for plane in planes)
        out[at] = rgb_planes(y, cb, cr, matrix, colour.bit_depth)[0]
    return out


def doubles_or_nan(values: Sequence[float | None]) -> Tensor:
    """Makes a tensor ``[T]`` float64; None, a time that is not known, becomes NaN."""
    return doubles(torch.nan if value is None else value for value in values)
