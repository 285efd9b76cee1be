"""The families of towers that can be gated.

siglip.py, siglip2.py, clip.py, dinov2.py, dinov3.py, vit.py, internvl.py, idefics3.py: one each
timm_vit.py, timm_eva.py, qwen.py, qwen3.py: one each
space_time.py: VideoMAE and V-JEPA 2, which attend over space and time
inside.py: finds the towers inside other models, to name them in an error
structure.py: checks that a model is built as its family expects
"""

from typing import Any

from torch import nn

from patchgate._check import TRANSFORMERS, check_transformers
from patchgate.encoders.families.clip import Clip
from patchgate.encoders.families.dinov2 import Dinov2
from patchgate.encoders.families.dinov3 import Dinov3
from patchgate.encoders.families.idefics3 import Idefics3
from patchgate.encoders.families.inside import advice
from patchgate.encoders.families.internvl import InternVL
from patchgate.encoders.families.qwen import Qwen25Vision
from patchgate.encoders.families.qwen3 import Qwen3Vision
from patchgate.encoders.families.siglip import Siglip
from patchgate.encoders.families.siglip2 import Siglip2
from patchgate.encoders.families.space_time import VideoMae, VJepa2
from patchgate.encoders.families.timm_eva import TimmEva
from patchgate.encoders.families.timm_vit import TimmVit
from patchgate.encoders.families.vit import Vit
from patchgate.encoders.tower import Tower
from patchgate.encoders.weights import check_whole

__all__ = [
    "FAMILIES",
    "tower_of",
]

# ``tower_of`` tries them in this order; append your own.
FAMILIES: list[type[Tower]] = [
    Siglip,
    Siglip2,
    Clip,
    Dinov2,
    Dinov3,
    Vit,
    InternVL,
    Idefics3,
    TimmVit,
    TimmEva,
    Qwen25Vision,
    Qwen3Vision,
]

# Towers that resemble supported ones, and why they are not supported.
_REFUSED = {
    "NaFlexVit": "it infers the grid of a frame from the patches that it gets, so a part of the "
    "patches would get other positions. timm's VisionTransformer with the same weights is "
    "supported",
}


def tower_of(model: Any) -> Tower:
    """Makes the ``Tower`` of a model of transformers or timm, and checks the model's structure.

    Raises:
        ImportError: transformers is too old.
        TypeError: no family supports the model, or the model is not built as its family expects. If
            the tower is inside the model, the error names the attribute.
        ValueError: the model's sizes do not fit together, or its weights are sharded.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"tower: expected a torch module, got {type(model).__name__}")
    check_transformers("tower", model, TRANSFORMERS)
    check_whole(model)
    classes = [base.__name__ for base in type(model).__mro__]
    for family in FAMILIES:
        if any(name in family.names for name in classes):
            # Some versions of transformers nest the tower in a model.
            inner = getattr(model, "vision_model", None)
            if inner is None or hasattr(model, "encoder"):
                return family(model)
            found = family(inner)
            found.outer = model
            return found
    for name, why in _REFUSED.items():
        if name in classes:
            raise TypeError(f"tower: {name} is not supported: {why}")
    whole = advice(model, _names())
    if whole:
        raise TypeError(whole)
    known = ", ".join(family.names[0] for family in FAMILIES)
    raise TypeError(
        f"tower: {type(model).__name__} is not supported; supported are {known} of transformers "
        "and timm. docs/add-a-tower.md says how to add one: derive from "
        "patchgate.encoders.tower.Tower and append it to FAMILIES"
    )


def _names() -> set[str]:
    """Returns the names of all classes that can be gated."""
    families: list[Any] = [*FAMILIES, VJepa2, VideoMae]
    return {name for family in families for name in family.names}
