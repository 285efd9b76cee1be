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
    """The reaches of a model, shared by all of its towers."""

    reaches: tuple[Tensor, ...] = ()  # [H] of each layer
    of: object = None  # what they were computed of


class Reaching(Adapted, ABC):
    """What a tower's heads add to the states of its tokens, and how far that can move them.

    A layer adds ``W o`` to a token's state, where ``o`` is what its heads attended to and ``W`` the
    output projection, with LayerScale after it. If head h's part of ``o`` moves by ``e``, the state
    moves by ``W_h e``: in the root mean square over all directions of ``e``, by
    ``|W_h|_F / sqrt(d) * |e|``. That factor is the head's reach.
    """

    def __init__(self) -> None:
        self._known = _Known()

    @property
    @abstractmethod
    def computed_layers(self) -> int:
        """The number of layers that are computed."""

    @abstractmethod
    def projections(self, layer: int) -> tuple[nn.Module, ...]:
        """The linear modules that a layer's heads go through, one after the other, before they are
        added to the layer's input: the output projection, and LayerScale where there is one.
        """

    def added(self, layer: int, attended: Tensor) -> Tensor:
        """What the heads' sums ``[R, H, d]`` add to the layer's input, ``[R, D]``."""
        x = attended.flatten(1)
        for module in self.projections(layer):
            x = module(x)
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
        self._keep_reaches(heads, width)
        return self._known.reaches

    # torch.compile runs this while it traces. It does not return the tensors: a graph can hold only
    # one tensor that a method of this name returned.

    @constant_when_compiled
    def _keep_reaches(self, heads: int, width: int) -> bool:
        """Computes them unless they are known already; True."""
        layers = range(self.computed_layers)
        seen = [_stamp(module) for layer in layers for module in self.projections(layer)]
        if self._known.of != (seen, heads, width):
            self._known.reaches = tuple(self._reach(layer, heads, width) for layer in layers)
            self._known.of = seen, heads, width
        return True

    def _reach(self, layer: int, heads: int, width: int) -> Tensor:
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


def _stamp(module: nn.Module) -> list[object]:
    """What changes when a module is wrapped or hooked, and when its weights are replaced, moved,
    cast or written to.
    """
    parts = [(id(m), *m._forward_hooks, *m._forward_pre_hooks) for m in module.modules()]
    weights = (*module.parameters(), *module.buffers())
    written = [None if weight.is_inference() else weight._version for weight in weights]
    return [parts, written, [(id(weight), weight.data_ptr(), weight.dtype) for weight in weights]]
