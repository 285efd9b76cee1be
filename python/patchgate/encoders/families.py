"""The families of towers that can be gated."""

from typing import Any

from torch import nn

from patchgate.encoders.clip import Clip
from patchgate.encoders.siglip import Siglip
from patchgate.encoders.tower import Tower

FAMILIES: tuple[type[Tower], ...] = (Siglip, Clip)


def tower_of(model: Any) -> Tower:
    """The family of a transformers model, with its structure checked.

    Raises:
        TypeError: not a family that is known, or not built as expected.
        ValueError: sizes that do not fit.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"tower: expected a torch module, got {type(model).__name__}")
    for family in FAMILIES:
        if any(base.__name__ in family.names for base in type(model).__mro__):
            inner = getattr(model, "vision_model", None)  # other versions of transformers nest it
            return family(model if inner is None or hasattr(model, "encoder") else inner)
    known = ", ".join(family.names[0] for family in FAMILIES)
    raise TypeError(
        f"tower: {type(model).__name__} is not supported; supported are {known} of transformers "
        "(of a whole model, give its vision tower). To add one, derive from "
        "patchgate.encoders.tower.Tower and append it to FAMILIES"
    )
