"""Checks how tokens lie on pixels: their layout or grid, and what was there before a slice.

Letters: f frames of a tubelet, C planes, H W pixels, h w cells, p cell side in pixels, K tokens.
"""

from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor

from patchgate.colour import Matrix
from patchgate.gate.settings import MAX_CELL
from patchgate.reference.gate_light import LEAST_GAIN, MOST_GAIN, MOST_OFFSET
from patchgate.tokens.blend import Cells, ids_after
from patchgate.tokens.layout import TokenGrid

_MOST_FRAMES = 2**53  # the most frames before a slice
_MOST_PIXELS = 2**31 - 1  # the most pixels of a picture

LAYOUT: dict[str, Any] = {  # what the fields of a ``TokenLayout`` may be
    "cell": tuple(range(1, MAX_CELL + 1)),
    "planes": (1, 3),
    "temporal_patch": (1, 2),
    "matrix": get_args(Matrix),
    "motion_precision": (1, 2, 4),
}
GRID: dict[str, Any] = {  # what the fields of a ``TokenGrid`` may be
    "cell": range(1, MAX_CELL + 1),
    "motion_precision": (1, 2, 4),
    "frames_before": range(_MOST_FRAMES + 1),
    "blends": (False, True),
}


def wrong_fields(what: str, given: Mapping[str, Any], fields: Mapping[str, Any]) -> str | None:
    """Checks the values of settings against those that they may have."""
    for name, value in given.items():
        allowed = fields[name]
        if type(value) is not type(allowed[0]) or value not in allowed:
            listed = ", ".join(map(str, allowed[:4]))
            span = f"{allowed[0]}..{allowed[-1]}" if len(allowed) > 3 else listed
            return f"{what}: expected {name} {span}, got {value!r}"
    return None


def wrong_layout(tensors: Mapping[str, Tensor], layout: Mapping[str, Any] | None) -> str | None:
    """Checks the layout, the features and the start picture against each other."""
    picture = tensors.get("start_picture")
    if layout is None:
        return None if picture is None else "start_picture has no meaning without a layout"
    if wrong := wrong_fields("layout", layout, LAYOUT):
        return wrong
    f, c, cell = layout.get("temporal_patch", 1), layout["planes"], layout["cell"]
    _, h, w = tensors["source"].shape
    if h * cell * w * cell > _MOST_PIXELS:
        return f"expected at most 2^31 pixels, got {h} x {w} cells of {cell} x {cell}"
    features, width = tensors["features"], f * c * cell**2
    if features.dtype != torch.uint8 or features.shape[1] != width:
        return (
            f"expected uint8 features [K, {width}] of {f} * {c} planes of {cell} x {cell} pixels, "
            f"got {features.dtype} {list(features.shape)}"
        )
    expected = [f, c, h * cell, w * cell]
    if picture is not None and (picture.dtype, list(picture.shape)) != (torch.uint8, expected):
        return f"expected start_picture uint8 {expected}, got {picture.dtype} {list(picture.shape)}"
    return None


def wrong_grid(
    tensors: Mapping[str, Tensor],
    layout: Mapping[str, Any] | None,
    grid: Mapping[str, Any] | None,
) -> str | None:
    """Checks a grid, and the dtype and shape of ``start_ids``."""
    ids = tensors.get("start_ids")
    if grid is None:
        return None if ids is None else "start_ids has no meaning without a grid"
    if layout is not None:
        return "expected a layout (of pixels) or a grid (of a tower's tokens), got both"
    if wrong := wrong_fields("grid", grid, GRID):
        return wrong
    _, h, w = tensors["source"].shape
    p = grid["cell"]
    if h * p * w * p > _MOST_PIXELS:
        return f"expected at most 2^31 pixels, got {h} x {w} cells of {p} x {p}"
    if ids is None:
        return None
    if not grid.get("blends", True):
        return "start_ids has no meaning where every cell shows one token whole"
    if (ids.dtype, list(ids.shape)) != (torch.int32, [h * p, w * p]):
        return f"expected start_ids int32 {[h * p, w * p]}, got {ids.dtype} {list(ids.shape)}"
    return None


def wrong_light(tensors: Mapping[str, Tensor], layout: Mapping[str, Any] | None) -> str | None:
    """Checks the weights of the light, and the cells that follow it."""
    weights, lit = tensors.get("weights"), tensors.get("lit")
    if weights is None or lit is None:
        return None if weights is lit else "expected weights and lit together, or neither"
    shape = list(tensors["source"].shape)
    if (lit.dtype, list(lit.shape)) != (torch.bool, shape):
        return f"expected lit bool {shape}, got {lit.dtype} {list(lit.shape)}"
    layout = layout or {"planes": 3}
    frames = [layout["temporal_patch"]] if "temporal_patch" in layout else [1, 2]
    planes = [1, layout["planes"]]  # 1: of a gate without chroma
    allowed = [[shape[0], f, c, 2] for f in frames for c in planes]
    if weights.dtype != torch.int32 or list(weights.shape) not in allowed:
        return f"expected weights int32 {allowed[-1]}, got {weights.dtype} {list(weights.shape)}"
    gain, offset = weights.unbind(-1)
    if bool(((gain < LEAST_GAIN) | (gain > MOST_GAIN)).any()):
        return f"weights: expected gains of {LEAST_GAIN}..{MOST_GAIN} 4096ths, got others"
    if bool((offset.abs() > MOST_OFFSET).any()):
        return f"weights: expected offsets of up to {MOST_OFFSET} 4096ths, got others"
    return None


def wrong_ids(tensors: Mapping[str, Tensor], grid: Mapping[str, Any] | None) -> str | None:
    """Checks the tokens under the pixels of the first frame; all other fields were checked."""
    ids = tensors.get("start_ids")
    if ids is None or grid is None:
        return None
    earlier = int(tensors["cu_seqlens"][0])
    if ids.numel() and not -1 <= int(ids.min()) <= int(ids.max()) < earlier:
        return f"start_ids: expected -1 or one of the {earlier} earlier tokens, got others"
    if not len(tensors["kind"]):
        return None
    kind, motion, source = (tensors[name][:1].cpu() for name in ("kind", "motion", "source"))
    cells = Cells(kind, motion, source, TokenGrid(**grid), ids.cpu())
    shown = next(ids_after(cells))  # [H, W]
    if bool((shown < 0).any()):
        return "start_ids: expected a token under every pixel that the first frame shows"
    by_cell = shown.unflatten(0, (-1, grid["cell"])).unflatten(2, (-1, grid["cell"]))  # [h,p,w,p]
    if not bool((by_cell == cells.source[0][:, None, :, None]).any(3).any(1).all()):
        return "start_ids: expected each cell's source under some of its pixels"
    return None
