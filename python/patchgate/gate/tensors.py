"""The tensors of the gate's stream state.

Letters: S streams, f frames of a tubelet, C planes, H W pixels, h w cells, A the gate's max_age,
or 0.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate.gate.settings import GateSettings

PARTS = 4  # of what a cell has gone through: least and greatest gain, and of mid-grey
QUARTILES = 15  # the number of earlier frames that the adaptive limit uses
_ALIGNED = 64  # bytes between the beginnings of two tensors


class State(NamedTuple):
    """The tensors, in the order in which the op takes them."""

    picture: Tensor  # [S, f, C, H, W] uint8: the reference picture
    ids: Tensor  # [S, H, W] int32: the token that each pixel of it came from
    source: Tensor  # [S, h, w] int64: that of the last frame
    clock: Tensor  # [S, 2] int64: frames seen, tokens emitted
    births: Tensor  # [S, A] int64: for each of the last A frames t, at t % A, the tokens before it
    quartiles: Tensor  # [S, 15] int32: those of the last frames' costs, for the adaptive limit
    light: Tensor  # [S, f, C, 4, h, w] int32: what cells have gone through since they were encoded;
    # h = 0 without illumination


DTYPES: dict[str, torch.dtype] = {
    "picture": torch.uint8,
    "ids": torch.int32,
    "source": torch.int64,
    "clock": torch.int64,
    "births": torch.int64,
    "quartiles": torch.int32,
    "light": torch.int32,
}

# What a gate with memory has besides, with M pictures of each stream.
MEMORY: dict[str, torch.dtype] = {
    "memory_pixels": torch.uint8,  # [S, M, f, C, H, W]
    "memory_tokens": torch.int64,  # [S, M, h, w]: of each cell; -1: it cannot return
    "memory_numbers": torch.int64,  # [S, M, 2]: the turn of the last use, of its shot; -1: none
    "memory_whole": torch.bool,  # [S, h, w]: cells that show their source as it was encoded
    "memory_now": torch.int64,  # [S, 3]: turns, the turn that began the shot, many cells changed
}

# The order in memory: first the tensors that every frame changes, then those that a still frame
# does not change.
_ORDER = ("clock", "quartiles", "births", "source", "light", "ids", "picture")


def shapes_of(picture: tuple[int, ...], settings: GateSettings) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a state whose reference picture is ``[S, f, C, H, W]``."""
    s, f, c, height, width = picture
    rows, columns = height // settings.cell, width // settings.cell
    lights = rows if settings.illumination else 0
    return {
        "picture": picture,
        "ids": (s, height, width),
        "source": (s, rows, columns),
        "clock": (s, 2),
        "births": (s, settings.max_age or 0),
        "quartiles": (s, QUARTILES),
        "light": (s, f, c, PARTS, lights, columns),
    }


def memory_shapes(picture: tuple[int, ...], settings: GateSettings) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the ``MEMORY`` beside a reference picture ``[S, f, C, H, W]``."""
    s, *one = picture
    count, grid = settings.memory or 0, shapes_of(picture, settings)["source"][1:]
    return {
        "memory_pixels": (s, count, *one),
        "memory_tokens": (s, count, *grid),
        "memory_numbers": (s, count, 2),
        "memory_whole": (s, *grid),
        "memory_now": (s, 3),
    }


class StateLayout:
    """Where the tensors lie in one block of memory.

    Args:
        shapes: those of the tensors.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.begin: dict[str, int] = {}  # bytes
        self.size = 0  # bytes
        for name in _ORDER:
            self.begin[name] = self.size
            length = math.prod(shapes[name]) * DTYPES[name].itemsize
            self.size += -(-length // _ALIGNED) * _ALIGNED

    def parts(self, flat: Tensor) -> State:
        """Returns the tensors in the bytes ``[size]``, as views."""
        return State(*(self._part(flat, name) for name in State._fields))

    def _part(self, flat: Tensor, name: str) -> Tensor:
        shape, dtype, begin = self.shapes[name], DTYPES[name], self.begin[name]
        return flat[begin : begin + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)
