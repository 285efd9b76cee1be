"""Finds the vision towers inside other models and wrappers, to name them in an error."""

from collections.abc import Collection, Iterator

from torch import nn

_FEW = 3  # towers that an error names
# What wraps a whole model to run it elsewhere or otherwise; the tower within is run without it.
_WRAPPERS = {
    "OptimizedModule": "torch.compile() the gated tower instead, with capacity=",
    "DataParallel": "give each process a gated tower of its own instead",
    "DistributedDataParallel": "wrap the gated tower instead",
}


def is_one_of(model: nn.Module, names: Collection[str]) -> bool:
    """Whether a model's class or one of its bases has one of these names."""
    return any(base.__name__ in names for base in type(model).__mro__)


def towers_inside(model: nn.Module, names: Collection[str], path: str = "") -> Iterator[str]:
    """Yields the attributes that lead to the outermost modules whose classes have these names.

    Each is written as in Python, such as ``.model.vision_tower`` or ``.towers[0]``.
    """
    for name, child in model.named_children():
        below = f"{path}[{name}]" if name.isdigit() else f"{path}.{name}"
        if is_one_of(child, names):
            yield below
        else:
            yield from towers_inside(child, names, below)


def advice(model: nn.Module, names: Collection[str]) -> str:
    """Says which attribute of a model to pass instead of it; empty if there is none."""
    found = list(towers_inside(model, names))
    if not found:
        return ""
    kind = type(model).__name__
    first = ", ".join(f"gated(model{path}, ...)" for path in found[:_FEW])
    more = f" and {len(found) - _FEW} more" if len(found) > _FEW else ""
    instead = f"; {_WRAPPERS[kind]}" if kind in _WRAPPERS else ""
    return f"tower: {kind} has its vision tower inside; pass that: {first}{more}{instead}"
