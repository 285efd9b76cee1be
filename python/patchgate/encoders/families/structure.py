"""Checks that a model is built as its family expects; an error names what differs."""

from collections.abc import Collection, Iterable
from numbers import Integral
from typing import Any

from torch import Tensor, nn

from patchgate._check.text import a_or_an
from patchgate.encoders.projection import base
from patchgate.encoders.tower import Tower


def part(model: nn.Module, path: str) -> Any:
    """Returns the value at a dotted path of attributes and indices.

    Raises:
        TypeError: there is none, or it is None.
    """
    found: Any = model
    for name in path.split("."):
        found = found[int(name)] if name.isdigit() else getattr(found, name, None)
        if found is None:
            raise TypeError(
                f"tower: {a_or_an(type(model).__name__)} without {path} is not what gated() "
                "knows; its family needs it"
            )
        found = getattr(found, "_orig_mod", found)  # the module inside a compiled one
    return found


def check_parts(model: nn.Module, paths: Iterable[str], root: str = "") -> None:
    """Raises a ``TypeError`` if the model has nothing at one of the paths (under ``root``)."""
    for path in paths:
        part(model, f"{root}.{path}" if root else path)


def check_children(model: nn.Module, path: str, known: Collection[str]) -> None:
    """Raises a ``TypeError`` if the module at a path has a child that its family would ignore."""
    for name, _ in part(model, path).named_children():
        if name not in known and name != "parametrizations":
            raise TypeError(
                f"tower: {a_or_an(type(model).__name__)} with {path}.{name} is not what gated() "
                f"knows: in {path} it knows only {', '.join(sorted(known))}"
            )


def check_tree(model: nn.Module, root: str, paths: Iterable[str]) -> None:
    """Raises a ``TypeError`` if a module has nothing at one of the paths, or other children.

    It checks the children of the module, and those of all modules on the way to the paths.
    """
    known: dict[str, set[str]] = {}
    for path in paths:
        part(model, f"{root}.{path}")
        names = [root, *path.split(".")]
        for depth in range(1, len(names)):
            known.setdefault(".".join(names[:depth]), set()).add(names[depth])
    for parent, children in known.items():
        check_children(model, parent, children)


def check_kind(model: nn.Module, path: str, known: tuple[str, ...]) -> None:
    """Raises a ``TypeError`` for a class that may combine the same parts in another way."""
    kind = type(part(model, path)).__name__
    if kind not in known:
        raise TypeError(
            f"tower: {path} is {a_or_an(kind)}; gated() calls the parts of such modules itself, "
            f"and knows only how timm's {' and '.join(known)} combines them"
        )


def side_of(value: Any, name: str) -> int:
    """Returns the side of a square, given as a number or as a pair of equal numbers."""
    sides = set(value) if isinstance(value, list | tuple) else {value}
    if len(sides) != 1 or not all(isinstance(side, Integral) for side in sides):
        raise ValueError(f"tower: expected {name} of one number, got {value}")
    return int(sides.pop())


def check_patches(projection: Any, patch: int) -> None:
    """Raises a ``ValueError`` if a convolution does not cut RGB into patches side by side."""
    convolution = base(projection)
    shape, stride = list(convolution.weight.shape), convolution.stride
    dilated = any(step != 1 for step in convolution.dilation)
    if shape[1:] != [3, patch, patch]:
        raise ValueError(
            f"tower: expected a patch embedding of 3 channels and {patch} pixels a side, got a "
            f"weight of {shape}"
        )
    padded = convolution.padding not in ("valid", (0, 0), 0)
    if tuple(stride) != (patch, patch) or padded or dilated:
        raise ValueError(
            "tower: expected patches that neither overlap nor are padded, got "
            f"stride={stride}, padding={convolution.padding}, dilation={convolution.dilation}"
        )


def linear_flops(block: nn.Module) -> float:
    """Counts a block's operations in linear layers per token; a multiply and an add are two."""
    layers = (m for m in block.modules() if isinstance(m, nn.Linear))
    # By features, because weights that are quantised have another shape.
    return sum(2.0 * m.in_features * m.out_features for m in layers)


def check_off(module: nn.Module, name: str, share: float) -> None:
    """Raises a ``ValueError`` if a module is in training mode and its dropout is more than 0."""
    if module.training and share > 0:
        raise ValueError(
            f"tower: it is in training mode with {name} {share}, which is not applied to packed "
            "tokens; call eval(), or set it to 0"
        )


def check_checkpointing(module: nn.Module, flag: str = "gradient_checkpointing") -> None:
    """Raises a ``ValueError`` if a module is in training mode with gradient checkpointing."""
    if module.training and getattr(module, flag, False):
        raise ValueError(
            "tower: it is in training mode with gradient checkpointing, which is not applied to "
            "packed tokens; call eval(), or switch it off"
        )


def check_floats(pixel_values: Any, tower: Tower) -> None:
    """Raises a ``TypeError`` or ``ValueError`` unless pixel values are floats on the device."""
    if not isinstance(pixel_values, Tensor):
        raise TypeError(f"pixel_values: expected a Tensor, got {type(pixel_values).__name__}")
    if not pixel_values.is_floating_point():
        raise TypeError(
            "pixel_values: expected normalised floats from the tower's processor, got "
            f"{pixel_values.dtype}"
        )
    check_device(pixel_values, "pixel_values", tower)


def check_device(tensor: Tensor, name: str, tower: Tower) -> None:
    """Raises a ``ValueError`` unless a tensor is on the tower's device."""
    if tensor.device != tower.weight.device:
        raise ValueError(
            f"{name}: the tower is on {tower.weight.device}, got a tensor on {tensor.device}"
        )
