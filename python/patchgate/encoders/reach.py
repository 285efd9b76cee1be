"""Reach: how far what a head attends to can move the state of a token.

Letters: R packed rows, H heads, d features of a head, D features.
"""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from patchgate.encoders.adapted import Adapted, constant_when_compiled


@dataclass
class _Known:
    """The reaches of a model, shared by a tower and its copies for pictures of other sizes."""

    tower: "Reaching"  # the first of them
    reaches: tuple[Tensor, ...] = ()  # [H] of each layer
    of: object = None  # what they were computed of

    # torch.compile runs this while it traces. It belongs to this object, because a copy that is
    # made while it traces is none yet. It does not return the tensors: a graph can hold only one
    # tensor that a method of this name returned.

    @constant_when_compiled
    def keep(self, layers: int, heads: int, width: int) -> bool:
        """Computes the reaches of the first layers unless they are known already; True."""
        tower, every = self.tower, range(layers)
        seen = [_stamp(part) for layer in every for part in tower.projections(layer)]
        if self.of != (seen, heads, width):
            self.reaches = tuple(tower.reach(layer, heads, width) for layer in every)
            self.of = seen, heads, width
        return True


class Reaching(Adapted, ABC):
    """What a tower's heads add to the states of its tokens, and how far that can move them.

    A layer adds ``W o`` to a token's state, where ``o`` is what its heads attended to and ``W`` the
    output projection, with LayerScale after it. If head h's part of ``o`` moves by ``e``, the state
    moves by ``W_h e``: in the root mean square over all directions of ``e``, by
    ``|W_h|_F / sqrt(d) * |e|``. That factor is the head's reach.
    """

    def __init__(self) -> None:
        self._known = _Known(self)

    @property
    @abstractmethod
    def computed_layers(self) -> int:
        """The number of layers that are computed."""

    @abstractmethod
    def projections(self, layer: int) -> tuple[nn.Module | Tensor, ...]:
        """What a layer's heads go through, one after the other, before they are added to the
        layer's input: the output projection, and LayerScale where there is one. Each is a linear
        module, or a factor ``[D]``.
        """

    def added(self, layer: int, attended: Tensor) -> Tensor:
        """What the heads' sums ``[R, H, d]`` add to the layer's input, ``[R, D]``."""
        x = attended.flatten(1)
        for part in self.projections(layer):
            x = x * part if isinstance(part, Tensor) else part(x)
        return x

    def reaches(self, heads: int, width: int) -> tuple[Tensor, ...]:
        """Returns the reach of the heads of each computed layer, ``[H]`` float32 (float64 for such
        towers).

        It is computed by the modules themselves, so that whatever wraps them is in it, and again
        when their weights change. In a compiled graph it is a constant.

        Args:
            heads: H.
            width: d.
        """
        self._known.keep(self.computed_layers, heads, width)
        return self._known.reaches

    def reach(self, layer: int, heads: int, width: int) -> Tensor:
        """Computes the reach of a layer's heads, ``[H]``."""
        like = self.weight
        with torch.inference_mode(False), torch.no_grad(), _no_autocast(like.device.type):
            units = torch.eye(heads * width, dtype=like.dtype, device=like.device)
            bias = self.added(layer, units.new_zeros(1, heads, width))
            moves = self.added(layer, units.unflatten(1, (heads, width))) - bias  # [H * d, D]
            wide = torch.promote_types(moves.dtype, torch.float32)
            parts = moves.unflatten(0, (heads, width))
            return torch.linalg.vector_norm(parts, dim=(1, 2), dtype=wide) / max(1, width) ** 0.5


def _no_autocast(device_type: str) -> AbstractContextManager[object]:
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext()
    return torch.autocast(device_type, enabled=False)


def _stamp(part: nn.Module | Tensor) -> list[object]:
    """What changes when a module is wrapped or hooked, and when its weights (or a factor) are
    replaced, moved, cast or written to.
    """
    modules = () if isinstance(part, Tensor) else part.modules()
    parts = [(id(m), *m._forward_hooks, *m._forward_pre_hooks) for m in modules]
    weights = (part,) if isinstance(part, Tensor) else (*part.parameters(), *part.buffers())
    written = [None if weight.is_inference() else weight._version for weight in weights]
    return [parts, written, [(id(weight), weight.data_ptr(), weight.dtype) for weight in weights]]
