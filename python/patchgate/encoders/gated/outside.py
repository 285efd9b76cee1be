"""Calls that torch.compile leaves out of its graphs: how much they compute depends on the frames.

Traced, such a call is compiled again for every number of kept cells. So a graph ends before it and
another one begins after it; the call itself runs as without ``torch.compile``.
"""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import nn

from patchgate.encoders.adapted import constant_when_compiled

Given = ParamSpec("Given")
Result = TypeVar("Result")
Module = TypeVar("Module", bound=nn.Module)

_REASON = (
    "how many cells a gated tower computes depends on what the frames show, and so do the shapes "
    "of its tensors. With one patch a cell, gated(..., capacity=K) computes a fixed number, and "
    "compiles to one graph"
)


class _Told:
    """Whether the warning was given: once in a process."""

    yet = False


class _Door:
    """A method as it is called from a compiled graph."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method
        self.outside: Callable[..., Any] = method

    # torch.compile calls this while it traces. Only then is its compiler imported: that takes as
    # long as importing torch itself.

    @constant_when_compiled
    def open(self) -> bool:
        """Sets ``outside`` to the method as torch.compile leaves it alone, and warns once; True."""
        if self.outside is self._method:
            self.outside = torch.compiler.disable(self._method, reason=_REASON)
        if not _Told.yet:
            _Told.yet = True
            warnings.warn(f"torch.compile leaves this call out: {_REASON}", stacklevel=2)
        return True


def outside_graphs(
    method: Callable[Concatenate[Module, Given], Result],
) -> Callable[Concatenate[Module, Given], Result]:
    """Keeps a method of a module out of compiled graphs, unless the module is ``traceable``."""
    door = _Door(method)

    @wraps(method)
    def call(self: Module, *given: Given.args, **named: Given.kwargs) -> Result:
        if not torch.compiler.is_dynamo_compiling() or getattr(self, "traceable", False):
            return method(self, *given, **named)
        door.open()
        result: Result = door.outside(self, *given, **named)
        return result

    return call
