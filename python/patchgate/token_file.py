"""Video tokens as a safetensors file. Letters: T frames, h w cells, K tokens."""

import json
from os import PathLike
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from patchgate._tensors import arange

_FORMAT = "patchgate.VideoTokens/1"

Layout = dict[str, Any] | None  # a TokenLayout's fields; None: the features are a tower's


def metadata(layout: Layout) -> dict[str, str]:
    """What the file says beside the tensors."""
    return {"format": _FORMAT, "layout": json.dumps(layout)}


def write(path: str | PathLike[str], tensors: dict[str, Tensor], layout: Layout) -> None:
    """Raises OSError where the file cannot be written."""
    dense = {name: value.contiguous() for name, value in tensors.items()}
    try:
        save_file(dense, path, metadata(layout))
    except (OSError, SafetensorError) as error:
        raise OSError(f"{path}: the tokens could not be written there ({error})") from error


def read(path: str | PathLike[str]) -> tuple[dict[str, Tensor], Layout]:
    """The tensors by name, mapped from the file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of video tokens, or one whose tensors do not belong together.
    """
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    if told.get("format") != _FORMAT:
        raise ValueError(f"{path}: expected {_FORMAT}, got {told.get('format')!r}")
    try:
        layout = json.loads(told["layout"])
        cell = layout["cell"] if layout else None
        wrong = contradiction(tensors, cell, (layout or {}).get("motion_precision", 1))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: incomplete or of another version ({error})") from error
    if wrong:
        raise ValueError(f"{path}: damaged: {wrong}")
    return tensors, layout


def contradiction(
    tensors: dict[str, Tensor], cell: int | None, motion_precision: int = 1
) -> str | None:
    """What does not fit together, in words; None if all does.

    Args:
        tensors: by name.
        cell: side in pixels, if the features are pixels.
        motion_precision: vectors count in 1 / so many pixels.
    """
    source, ends = tensors["source"], tensors["cu_seqlens"]
    k, (t, h, w) = len(tensors["features"]), source.shape
    shapes = {"frame": [k], "cell": [k, 2], "span": [k], "kind": [t, h, w]}
    shapes |= {"motion": [t, h, w, 2], "cu_seqlens": [t + 1]}
    shapes |= {"pts_seconds": [t], "duration_seconds": [t]}
    for name, expected in shapes.items():
        if list(tensors[name].shape) != expected:
            return f"expected {name} {expected}, got {list(tensors[name].shape)}"
    if source.numel() and not 0 <= int(source.min()) <= int(source.max()) < k:
        return f"source refers to tokens that are not among the {k}"
    if int(ends[-1]) != k or bool((ends.diff() < 0).any()):
        return f"cu_seqlens does not lead up to {k} tokens"
    if type(motion_precision) is not int or motion_precision not in (1, 2, 4):
        return f"expected motion_precision 1, 2 or 4, got {motion_precision!r}"
    if cell is not None and _leads_out(tensors["motion"], cell * motion_precision):
        return "a vector leads out of the picture"
    return None


def _leads_out(motion: Tensor, cell: int) -> bool:
    """Whether any vector of ``motion [T, h, w, 2]`` takes its block beyond the picture.

    ``cell``: side in the vectors' steps.
    """
    h, w = motion.shape[1:3]
    top, left = arange(h)[:, None] * cell, arange(w) * cell  # [h, 1], [w]
    dy, dx = motion[..., 0], motion[..., 1]  # [T, h, w] each
    y_out = (top + dy < 0) | (top + dy > (h - 1) * cell)
    x_out = (left + dx < 0) | (left + dx > (w - 1) * cell)
    return bool((y_out | x_out).any())
