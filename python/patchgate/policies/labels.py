"""Formats times and frames as text for a language model."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor


def seconds(times: Tensor | Iterable[float]) -> list[str]:
    """Formats as ``<12.3s>``, which DATE's TIM (arXiv 2509.09263) puts after a patch's tokens."""
    return [f"<{t:.1f}s>" for t in _floats(times)]


def spelled(times: Tensor | Iterable[float]) -> list[str]:
    """Formats as ``<12.3 seconds>``, which Qwen3-VL's processor puts before a patch's tokens."""
    return [f"<{t:.1f} seconds>" for t in _floats(times)]


def clock(times: Tensor | Iterable[float]) -> list[str]:
    """Formats as ``02:05``, from an hour on as ``1:02:05``; rounds down to the second."""
    return [_clock(t) for t in _floats(times)]


def frames(numbers: Tensor | Iterable[int]) -> list[str]:
    """Formats as ``frame 17:``, which FrameThinker (arXiv 2509.24304) puts before a picture."""
    return [f"frame {int(i)}:" for i in _floats(numbers)]


def spans(begins: Tensor | Iterable[float], ends: Tensor | Iterable[float]) -> list[str]:
    """Formats as ``3.0-5.0 seconds:``, which Apollo (arXiv 2412.10360) puts before a clip."""
    pairs = zip(_floats(begins), _floats(ends), strict=True)
    return [f"{a:.1f}-{b:.1f} seconds:" for a, b in pairs]


def seconds_of(text: str) -> float:
    """Parses a time that a model writes: ``mm:ss`` or ``h:mm:ss``, as in FrameThinker's actions.

    Returns:
        Seconds.

    Raises:
        ValueError: the text is no such time.
    """
    parts = text.strip().split(":")
    if len(parts) not in (2, 3) or not all(p.isdigit() for p in parts):
        raise ValueError(f"expected mm:ss or h:mm:ss, got {text!r}")
    total = 0
    for part in parts:
        total = 60 * total + int(part)
    return float(total)


def _clock(t: float) -> str:
    sign, whole = ("-" if t < 0 else ""), math.floor(abs(t))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{sign}{hours}:{minutes:02}:{rest:02}" if hours else f"{sign}{minutes:02}:{rest:02}"


def _floats(values: Tensor | Iterable[float]) -> list[float]:
    return values.tolist() if isinstance(values, torch.Tensor) else [float(v) for v in values]
