"""``gated`` for video towers with attention over space and time."""

from dataclasses import fields
from typing import Any

from torch import Tensor, nn

from patchgate._check import TRANSFORMERS, check_transformers
from patchgate.encoders.spacetime import GatedClips, SpaceTimeTower
from patchgate.encoders.videomae import VideoMae
from patchgate.encoders.vjepa2 import VJepa2
from patchgate.gate import GateSettings
from patchgate.gather import PixelSpec
from patchgate.gather.pixel_spec import Triple
from patchgate.gather.resize import Keep

SPACE_TIME: tuple[type[SpaceTimeTower], ...] = (VJepa2, VideoMae)


def is_space_time(model: Any) -> bool:
    """Whether it is a tower for ``gated_clips``."""
    classes = {base.__name__ for base in type(model).__mro__}
    return any(classes & set(family.names) for family in SPACE_TIME)


def gated_clips(
    tower: nn.Module,
    processor: Any = None,
    *,
    mean: Any = None,
    std: Any = None,
    context: str = "full",
    **settings: Any,
) -> GatedClips:
    """Wraps a space-time tower so that it computes only what changed within each clip.

    Args:
        tower: a ``VideoMAEModel``, or the ``VJEPA2Encoder`` of a V-JEPA 2 model
            (``model.encoder = gated(model.encoder, ...)``). It is not changed.
        processor: the tower's transformers processor (or a ``PixelSpec``), for the mean and
            standard deviation that bring pixel values back to 8 bit.
        mean, std: per channel, in its place.
        context: ``"kept"``: kept cells attend to all kept cells of their clip.
        settings: of the gate, as ``threshold``; see ``Gate``. Patch and tubelet are the tower's.

    Returns:
        A ``GatedClips``.

    Raises:
        ImportError: a tower of a transformers that is too old.
        TypeError: a tower that is not known, settings that the gate does not have.
        ValueError: ``context="full"``; no mean and std; sizes that do not fit the tower.

    Source: ``"kept"`` is the context of RLT (arXiv 2411.05222); the gate is in docs/gate.md.
    """
    check_transformers("tower", tower, TRANSFORMERS)
    if context != "kept":
        raise ValueError(
            "context: this tower attends over space and time, so that a cell of one frame changes "
            "what every cell of every other frame means: there is nothing to reuse. Only "
            f'context="kept" is offered, got {context!r}'
        )
    classes = [base.__name__ for base in type(tower).__mro__]
    for family in SPACE_TIME:
        if any(name in family.names for name in classes):
            built = family(tower)
            built.check_dtype()
            built.check_calls()
            gate = _gate_settings(built, settings)
            return GatedClips(built, *_normalisation(processor, mean, std), gate)
    known = ", ".join(name for family in SPACE_TIME for name in family.names)
    raise TypeError(f"tower: {type(tower).__name__} is not supported; supported are {known}")


def _gate_settings(tower: SpaceTimeTower, given: dict[str, Any]) -> GateSettings:
    """The gate's settings: the tower's sizes, and what the user says of the rest."""
    known = [each.name for each in fields(GateSettings)]
    own = {"patch": tower.patch, "merge": 1, "temporal_patch": tower.temporal_patch, "size": None}
    # What the processor does to a frame is done; a fit would be silently ignored.
    fixed = {**own, "fit": "stretch"}
    for name, value in given.items():
        if name not in known:
            raise TypeError(f"gated: {name} is no setting of the gate; those are {known}")
        if name in fixed and value != fixed[name]:
            raise ValueError(
                f"{name}: the tower has {name}={fixed[name]}, got {value}; leave it out"
            )
    return GateSettings(**{**given, **own})


def _normalisation(processor: Any, mean: Any, std: Any) -> tuple[Triple, Triple]:
    """Mean and standard deviation, as a ``PixelSpec`` checks them."""
    if (processor is None) == (mean is None and std is None):
        came = "neither" if processor is None else "both"
        raise ValueError(
            f"gated: expected a processor or mean= and std=, got {came}: they bring pixel values "
            "back to the 8 bit that the gate compares"
        )
    if isinstance(processor, PixelSpec):
        return processor.mean, processor.std
    if processor is not None:
        for flag in ("do_rescale", "do_normalize"):
            if not getattr(processor, flag, False):
                raise ValueError(f"processor: expected one with {flag}=True; pass mean= and std=")
        if abs(255 * processor.rescale_factor - 1) > 1e-3:
            raise ValueError(
                f"processor: expected one that rescales by 1/255, got {processor.rescale_factor}"
            )
        mean, std = processor.image_mean, processor.image_std
    if mean is None or std is None:
        raise ValueError("gated: expected both mean= and std=, got one of them")
    mean, std = (x.tolist() if isinstance(x, Tensor) else x for x in (mean, std))
    spec = PixelSpec(Keep(), mean, std, 1)
    return spec.mean, spec.std
