"""Checks the arguments of a gate; errors are in the user's words.

Letters: S streams, T frames, f frames of a tubelet, C planes, H W pixels, h w cells.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from patchgate._check import checked_count
from patchgate._tensors import as_given
from patchgate.gate.settings import GateSettings

_DEVICES = ("cpu", "cuda")
_PICTURES = (
    ". A gate compares Y, Cb and Cr: RGB pictures become these by patchgate.FrameBatch.from_rgb("
    "frames), OpenCV's by from_bgr, which a gate with size=(H, W) takes; or give the pictures to "
    "patchgate.tokenize(frames, fps=...)"
)
_NORMALISED = (
    ". Pixel values that a processor has normalised go to a tower, gated(model)(pixel_values); "
    "pictures in 0..1 become uint8 by (frames * 255).round().to(torch.uint8), and planes of it by "
    "patchgate.FrameBatch.from_rgb"
)


def checked_planes(planes: Any, settings: GateSettings, seen: Tensor | None) -> Tensor:
    """Returns the planes as ``[S, T, C, H, W]`` with the C planes that are compared.

    Args:
        seen: ``[S, f, C, H, W]``, the reference picture so far, which the planes must fit.
    """
    if not isinstance(planes, Tensor):
        came = type(planes).__name__
        raise TypeError(f"planes: expected a Tensor or a FrameBatch, got {came}{_PICTURES}")
    _check_dense("planes", planes)
    if planes.dtype != torch.uint8:
        floats = _NORMALISED if planes.is_floating_point() else ""
        raise TypeError(f"planes: expected uint8 in 0..255, got {planes.dtype}{floats}")
    shape = list(planes.shape)
    pictures = _PICTURES if shape and shape[-1] in (3, 4) else ""  # channels come last
    if planes.dim() not in (4, 5):
        raise ValueError(f"planes: expected [T, C, H, W] or [S, T, C, H, W], got {shape}{pictures}")
    c, height, width = shape[-3:]
    if c not in (1, 3):
        raise ValueError(
            f"planes: expected C = 1 (luma) or 3 (Y, Cb, Cr), got C = {c} in {shape}{pictures}"
        )
    cell = settings.cell
    if not height or not width or height % cell or width % cell:
        raise ValueError(
            f"planes: {height} x {width} pixels do not divide into cells of {cell} "
            f"(patch * merge); resize to multiples of {cell}{pictures}"
        )
    frames = planes if planes.dim() == 5 else planes[None]
    if frames.shape[0] == 0:
        raise ValueError(f"planes: expected at least one stream, got {shape}")
    if not settings.chroma:
        frames = frames[:, :, :1]
    if seen is not None:
        _check_same(frames, seen)
    if frames.device.type not in _DEVICES:
        raise TypeError(f"planes: expected pixels on the CPU or a GPU, got {frames.device}")
    return frames


def _check_dense(name: str, tensor: Tensor) -> None:
    if tensor.is_nested or tensor.layout != torch.strided:
        came = "a nested one" if tensor.is_nested else str(tensor.layout)
        raise TypeError(f"{name}: expected a dense tensor, got {came}")


def _check_same(frames: Tensor, seen: Tensor) -> None:
    expected = (seen.shape[0], *seen.shape[2:])
    came = (frames.shape[0], *frames.shape[2:])
    if came != expected:
        raise ValueError(
            f"planes: this gate has seen (S, C, H, W) = {expected}, got {came}; "
            "reset() it first, or use a gate per video"
        )
    if frames.device != seen.device:
        raise ValueError(
            f"planes: this gate's state is on {seen.device}, got planes on {frames.device}"
        )


def checked_map(threshold_map: Any, settings: GateSettings, frames: Tensor) -> Tensor | None:
    """Returns the factors as ``[h, w]`` float64 on the device of ``frames [S, T, C, H, W]``."""
    if threshold_map is None:
        return None
    try:
        factors = as_given(threshold_map)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"threshold_map: expected numbers [h, w], got {threshold_map!r}") from error
    _check_dense("threshold_map", factors)
    if factors.is_meta:
        raise TypeError("threshold_map: expected numbers on the CPU or a GPU, got meta")
    if factors.is_complex():
        raise TypeError(f"threshold_map: expected real numbers, got {factors.dtype}")
    expected = [side // settings.cell for side in frames.shape[-2:]]
    if list(factors.shape) != expected:
        raise ValueError(f"threshold_map: expected [h, w] = {expected}, got {list(factors.shape)}")
    factors = factors.detach().to(frames.device, torch.float64).contiguous()
    if bool((factors.isnan() | (factors < 0)).any()):
        raise ValueError("threshold_map: expected factors >= 0 (inf allowed), got NaN or less")
    return factors


def checked_streams(streams: Iterable[int] | Tensor, count: int) -> list[int]:
    """Returns stream numbers in ``0..count - 1``, of numbers or of a bool mask ``[count]``."""
    if isinstance(streams, Tensor) and streams.dtype == torch.bool:
        if list(streams.shape) != [count]:
            raise ValueError(
                f"reset: expected a mask of {count} streams, got {list(streams.shape)}"
            )
        return streams.nonzero().flatten().tolist()
    expected = f"reset: expected stream numbers 0..{count - 1}, got {streams}"
    try:
        numbers = streams.tolist() if isinstance(streams, Tensor) else list(streams)
        return [checked_count("reset", number, 0, count - 1) for number in numbers]
    except ValueError:
        raise ValueError(expected) from None
    except TypeError:
        raise TypeError(f"{expected}; they go into a list, or a bool mask [S]") from None
