"""``gated``: any supported tower, so that it computes only what changed.

base.py         the calls of gated towers; tower.py GatedTower, and TowerStream, which goes on
fixed.py        FixedTower: with a capacity, for ``torch.compile``
clips.py        GatedClips: video towers that attend over space and time
inputs.py       their arguments, checked; pixels.py pixel values back to what the gate compares
emitted.py      the output as VideoTokens; stand_in.py in place of the tower in a larger model
stream_state.py a stream's state as a dict of tensors; stream_file.py the same as a file
calibrate.py    the largest tolerance that a read-out bears
stream_check.py what a tower stream's state may be: the one place that knows
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from torch import Tensor, nn

from patchgate._signature import spelled
from patchgate.encoders.families import tower_of
from patchgate.encoders.families.truncated import truncated
from patchgate.encoders.gated.base import Output
from patchgate.encoders.gated.calibrate import calibrated
from patchgate.encoders.gated.clips import GatedClips, gated_clips, is_space_time
from patchgate.encoders.gated.fixed import FixedTower
from patchgate.encoders.gated.inputs import gate_settings
from patchgate.encoders.gated.tower import GatedTower
from patchgate.encoders.run.fidelity import Fidelity, FidelityKwargs
from patchgate.encoders.tower import Tower
from patchgate.gate import GateSettings
from patchgate.gate.settings import GEOMETRY, GateRules
from patchgate.gather import PixelSpec


def pixel_spec(tower: Tower, processor: Any, mean: Any, std: Any) -> PixelSpec:
    """What was done to the pixels, by the tower's processor or (if None) by its mean and std.

    Args:
        processor: a transformers processor, or a ``PixelSpec``.

    Raises:
        ValueError: neither or both; a processor that does not fit the tower, or is not known.
    """
    if (processor is None) == (mean is None and std is None):
        came = "neither" if processor is None else "both"
        raise ValueError(
            f"gated: expected a processor or mean= and std=, got {came}: they bring pixel values "
            "back to the 8 bit that the gate compares"
        )
    if processor is None:
        if mean is None or std is None:
            raise ValueError("gated: expected both mean= and std=, got one of them")
        mean, std = (x.tolist() if isinstance(x, Tensor) else x for x in (mean, std))
        sides = (tower.patch, tower.merge, tower.temporal_patch)
        return PixelSpec(tower.size_rule, mean, std, *sides, channels_last=tower.channels_last)
    spec = processor
    if not isinstance(processor, PixelSpec):
        spec = PixelSpec.from_processor(processor, tower.patch, tower.merge, tower.temporal_patch)
    names = ("patch", "merge", "temporal_patch", "channels_last")
    differs = [name for name in names if getattr(spec, name) != getattr(tower, name)]
    if differs:
        own = ", ".join(f"{name}={getattr(tower, name)}" for name in differs)
        raise ValueError(f"processor: expected patches of {own}, got {spec}")
    if abs(255 * spec.rescale - 1) > 1e-3:
        raise ValueError(f"processor: expected one that rescales by 1/255, got {spec.rescale:g}")
    return spec


class GatedKwargs(FidelityKwargs, GateRules, total=False):
    """The keywords of ``gated`` beside its own arguments; ``gated`` documents them."""


@spelled(Fidelity, GateSettings, leave_out=GEOMETRY)
def gated(
    tower: nn.Module,
    processor: Any = None,
    *,
    mean: Any = None,
    std: Any = None,
    feature_layer: int | None = None,
    capacity: int | None = None,
    layer_capacity: int | Sequence[int] | None = None,
    output: Output = "dense",
    **settings: Unpack[GatedKwargs],
) -> GatedTower | GatedClips:
    """Wraps a vision tower so that it computes only the cells that changed.

    ``tower(pixel_values)`` is then one clip, its batch axis time: same call, same output type and
    shapes. A cell that was kept is encoded from its own pixel values; any other shows the features
    of the token that explains it (``Gate``). A frame that keeps nothing is not computed at all.

    Args:
        tower: a vision tower of a family that docs/towers.md lists, such as transformers'
            ``SiglipVisionModel`` or ``Dinov2Model``. It is not changed, and is at hand as
            ``.tower``; weights are shared.
        processor: the tower's transformers processor (or a ``PixelSpec``), for the mean and
            standard deviation that bring pixel values back to 8 bit.
        mean, std: per channel, in its place.
        feature_layer: the features are ``hidden_states[feature_layer]``, as many vision-language
            models take them, and layers after it are not computed.
        capacity: compute so many kept cells of a clip, never more or fewer, so that every shape is
            known beforehand: for ``torch.compile``. See ``FixedTower``. Only for towers of one
            patch a cell, and without ``refresh``.
        layer_capacity: with ``capacity``, how many cells of a clip each layer has room for, those
            included that become active or are embedded where they are now: one number, or one for
            each layer, not descending. None: twice the capacity.
        output: ``"dense"``: a call returns what the tower's does. ``"tokens"``: ``VideoTokens``,
            each feature once; it then needs ``pts_seconds``. See ``GatedTower.tokens``.
        settings: what a cell that was not kept means to the others, and those of the gate
            (``threshold``, ...: see ``Gate``; patch, merge and size are the tower's):

            context: ``"full"``: residual attention, kept cells attend to all cells of their frame;
                those that were not kept lend the keys and values of their source tokens.
                ``"kept"``: nothing, kept cells (and CLS) attend to those of their own frame.
            tolerance: with ``"full"``, a cell that stands still is computed from the layer on in
                which its attention output has moved by more than this share of the one that its
                state was made with: its neighbours changed what it means. 0: the dense tower over
                each cell's source patch. ``math.inf``: never. See ``patchgate.calibrate``.
            tolerance_layers: cells may become active in so many layers only, the first ones.
            refresh: frames after which all cells are computed anew; None: never.
            reposition: embed moved cells anew where they are now. False: they lend what their
                source was, with its position (with ``tolerance=0`` they never do). Needless on a
                camera that stands still; where text scrolls it loses half of it.

    Returns:
        A ``GatedTower``; with ``capacity`` a ``FixedTower``, which is one.

    Raises:
        ImportError: a tower of a transformers that is older than 5.17.
        TypeError: a tower that is not known, settings that the gate does not have.
        ValueError: no processor and no mean and std; a processor that is not known; sizes of
            tower, processor and gate that do not fit; weights of mixed dtypes or devices.

    Source: docs/towers.md; ``"kept"`` is the context of RLT (arXiv 2411.05222), the gate is in
    docs/gate.md.
    """
    sizes = {"capacity": capacity, "layer_capacity": layer_capacity}
    if is_space_time(tower):
        for name, value in {"feature_layer": feature_layer, **sizes}.items():
            if value is not None:
                raise ValueError(f"{name}: a space-time tower is gated as a whole")
        if output != "dense":
            raise ValueError(f'output: a space-time tower has "dense" only, got {output!r}')
        return gated_clips(tower, processor, mean=mean, std=std, **settings)
    if layer_capacity is not None and capacity is None:
        raise ValueError("layer_capacity: it belongs to capacity, which is missing")
    known = calibrated(tower) if settings.get("context", "full") == "full" else {}
    fidelity, gate = Fidelity.split({**known, **settings})
    if isinstance(tower, GatedTower):
        raise ValueError("tower: it is gated already; its own tower is .tower")
    family = tower_of(tower)
    family.check_dtype()
    family.check_calls()
    spec = pixel_spec(family, processor, mean, std)
    family = family.fitted(spec)
    if feature_layer is not None:
        family = truncated(family, feature_layer)
    parts = (tower, family, spec, gate_settings(family, gate), fidelity)
    if capacity is None:
        return GatedTower(*parts, output)
    if output != "dense":
        raise ValueError(f'output: with capacity "dense" only, got {output!r}')
    return FixedTower(*parts, capacity, layer_capacity)
