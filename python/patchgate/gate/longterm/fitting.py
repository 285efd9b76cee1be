"""Which cells of a frame equal their place in a remembered picture.

A picture is looked at closely only if it looks alike at a glance: four samples of each cell. Then
the op compares it, with a limit that every cell passes: so it writes nothing, and its costs are
those of the zero test.

Letters: f frames of a tubelet, C planes, H W pixels, h w cells, p cell side, M pictures.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchgate import _ops
from patchgate.gate.longterm.pictures import Bytes, Flags, Ids, Picture
from patchgate.gate.settings import GateSettings
from patchgate.gate.tensors import State

_ALWAYS = 2**31 - 1  # a limit that every cost passes, as the op's
_GLANCE = 16  # of the changed cells, at least one in so many must look alike


def fitting(
    frame: Tensor,
    before: State,
    pictures: tuple[Picture | None, ...],
    changed: Flags,
    factors: Tensor | None,
    settings: GateSettings,
) -> Flags | None:
    """Returns which cells equal the reference or a picture, ``[1 + M, h, w]``; None: no cell
    equals a picture. Synchronises.

    The limit is such that no rule can make such a cell a changed one, but a scene cut.

    Args:
        frame: ``[1, 1, f, C, H, W]``.
        before: the state before it, of one stream.
        pictures: M.
        changed: ``[h, w]``, the cells that are encoded if nothing comes back.
        factors: ``[h, w]``, the push's threshold map.
    """
    limits = limits_of(factors, settings)
    alike = alike_at_a_glance(frame, pictures, changed, limits, settings)
    if not any(alike):
        return None
    oldest = _oldest(before)
    fits = np.zeros((1 + len(pictures), *changed.shape), np.bool_)
    for i, each in enumerate(pictures, 1):
        if each is not None and alike[i - 1]:
            near = _costs(frame, each.pixels[None], before, settings) <= limits
            fits[i] = near & (each.tokens >= oldest)
    if not fits.any():
        return None
    fits[0] = _costs(frame, before.picture, before, settings) <= limits
    return fits


def alike_at_a_glance(
    frame: Tensor,
    pictures: tuple[Picture | None, ...],
    changed: Flags,
    limits: Ids,
    settings: GateSettings,
) -> list[bool]:
    """Says of each picture whether it may be the frame's, by four samples of each cell.

    A cell looks alike if none of them differs by more than twice what its limit allows a pixel on
    average: of a cell that fits, at most half of the pixels of any sub-block do.
    """
    most = np.minimum(2 * limits // settings.sub_block**2, 255).astype(np.uint8)  # as limits
    samples = glance(frame[0, 0], settings.cell)  # [4, h, w]
    enough = max(1, -(-int(np.count_nonzero(changed)) // _GLANCE))
    found = []
    for each in pictures:
        if each is None:
            found.append(False)
            continue
        then = each.glance
        near = np.maximum(then, samples) - np.minimum(then, samples) <= most
        alike = near.all(0) & changed & (each.tokens >= 0)
        found.append(int(np.count_nonzero(alike)) >= enough)
    return found


def glance(picture: Tensor, p: int) -> Bytes:
    """Returns four samples of each cell of a picture ``[f, C, H, W]``: uint8 ``[4, h, w]``.

    They are a quarter of a cell from its edges, in the luma of the first frame. Synchronises.
    """
    at = (p // 4, p - 1 - p // 4)
    luma = picture[0, 0]
    every = [luma[y::p, x::p] for y in at for x in at]
    if luma.is_cpu:
        return np.stack([one.numpy() for one in every])
    return torch.stack(every).cpu().numpy()


def limits_of(factors: Tensor | None, settings: GateSettings) -> Ids:
    """Returns each cell's limit, tightened by hysteresis: ``[h, w]``, or ``[1, 1]`` of all."""
    tight = 1.0 if settings.hysteresis is None else settings.hysteresis
    if factors is None:
        return np.full((1, 1), math.floor(settings.limit * tight))
    factor: NDArray[np.float64] = factors.double().cpu().numpy()
    always = np.isposinf(factor)
    scaled = np.floor(settings.limit * np.where(always, 0, np.nan_to_num(factor)))
    limits = np.where(always, _ALWAYS, scaled.clip(0, _ALWAYS)).astype(np.int64)
    return np.where(limits == _ALWAYS, limits, np.floor(limits * tight).astype(np.int64))


def _costs(frame: Tensor, picture: Tensor, before: State, settings: GateSettings) -> Ids:
    """Returns the costs of the zero test against a picture ``[1, f, C, H, W]``: ``[h, w]``."""
    full = 255 * settings.sub_block**2  # the largest cost: all cells are static
    clock = before.clock.new_tensor([[1, 0]])
    # What is static keeps its ids and its source: of these states only the clock is changed.
    rest = before.ids, before.source, clock, before.births[:, :0], before.quartiles, before.light
    rules = (settings.cell, settings.sub_block, full, 0, 0, 0, -1, -1.0, False, 1)
    costs: Ids = _ops.gate(frame, picture, *rest, None, *rules)[2][0, 0].cpu().numpy()
    return costs


def _oldest(before: State) -> int:
    """Returns the oldest token that may come back."""
    age = before.births.shape[1]
    if not age:
        return 0
    frames, tokens = before.clock[0].tolist()
    return int(tokens if age == 1 else before.births[0, (frames + 1) % age])
