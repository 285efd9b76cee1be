"""``gated`` wraps a supported model so that it computes only the cells that changed.

tower.py         GatedTower; TowerStream, which keeps its state from call to call
singles.py       warns of many calls of one frame each
streams.py       TowerStreams: several streams, whose frames pass through the tower together
base.py          BaseTower: the calls that both have
fixed.py         FixedTower: a gated tower with a capacity, for ``torch.compile``
clips.py         GatedClips: video towers that attend over space and time
outside.py       calls that torch.compile leaves out of its graphs
stand_in.py      StandIn: a gated tower in the tower's place in a larger model
inputs.py        checks the arguments of a call; pixels.py turns pixel values back into gate planes
emitted.py       the output of a call as VideoTokens
calibrate.py     finds the cheapest settings at which a user's answers stay the same
search.py        which settings it tries; answers.py what a user's read-out says with them
stream_state.py  a stream's state as a dict of tensors; stream_check.py finds what is wrong in one
                 (stream_pictures.py: in pictures that may return); stream_tables.py: its tables
stream_file.py   the same state as a file
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from torch import Tensor, nn

from patchgate._signature import spelled
from patchgate.encoders.families import tower_of
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

__all__ = [
    "GatedKwargs",
    "gated",
    "pixel_spec",
]


def pixel_spec(tower: Tower, processor: Any, mean: Any, std: Any) -> PixelSpec:
    """Makes the ``PixelSpec`` that describes how the tower's pixel values were made.

    Args:
        processor: a transformers processor, or a ``PixelSpec``; None: use ``mean`` and ``std``.

    Raises:
        ValueError: neither or both were given; the processor is not known or does not fit the
            tower.
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
    """The ``settings`` of ``gated``, which documents them."""


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

    The result is called as the tower is, and returns the same type and shapes. One call is one
    clip: the batch axis is time. A cell that the gate keeps is encoded from its own pixel values.
    Any other cell shows the features of the token that explains it (see ``Gate``). A frame that
    keeps no cell is not computed at all.

    Args:
        tower: a vision model of a family that docs/towers.md lists, such as transformers'
            ``SiglipVisionModel`` or ``Dinov2Model``. It is not changed: the result shares its
            weights and has it as ``.tower``.
        processor: the tower's transformers processor, or a ``PixelSpec``. Its mean and standard
            deviation bring pixel values back to 8 bit.
        mean, std: one number per channel, instead of a processor.
        feature_layer: the features are ``hidden_states[feature_layer]``, as many vision-language
            models use them. Layers after it are not computed.
        capacity: the number of kept cells of a clip that every call computes, never more or fewer.
            Every shape is then known beforehand, as ``torch.compile`` needs it: see
            ``FixedTower``. The tower must have one patch a cell, and ``refresh`` must be None.
        layer_capacity: with ``capacity``, the number of cells of a clip that each layer has room
            for, including those that become active or are embedded where they are now. Give one
            number, or one for each layer, not descending. None: twice the capacity.
        output: with ``"dense"``, a call returns what the tower's call does. With ``"tokens"``, it
            returns ``VideoTokens``, which have each feature once, and needs ``pts_seconds``: see
            ``GatedTower.tokens``.
        settings: how cells that were not kept take part, and the settings of the gate, such as
            ``threshold``: see ``Gate``. Patch, merge and size are the tower's.

            context: with ``"full"`` (residual attention), kept cells attend to all cells of their
                frame; for cells that were not kept, these are the keys and values of their source
                tokens. With ``"kept"``, kept cells (and CLS) attend only to those of their own
                frame.
            tolerance: with ``"full"``, the share of its norm by which a still cell's state may move
                in a layer because its neighbours changed: the change of its attention output since
                its state was made, projected as the layer projects it. If it would move by more,
                the cell is computed from that layer on. 0 gives the dense tower over the pixels
                that each cell was last computed from; ``math.inf`` never computes a still cell. If
                ``patchgate.calibrate`` has left threshold, sub_blocks and tolerance with the model
                (``config.patchgate``), they are used where they are not given.
            tolerance_layers: the number of layers, from the first, in which still cells may become
                active; None: all.
            refresh: the number of frames after which all cells are computed anew; None: never.
            moved: what a cell that moved is to the tower. With ``"own"`` it is computed from the
                frame's own pixels, as a cell that changed is, and is still no token. With
                ``"source"`` it is computed from its source token's pixels, at its own place. With
                ``"lend"`` it is not computed: it lends what its source was, with its old position
                (but never with ``tolerance=0``).
            pass_over: ``(share, frames)``. The tower passes a frame over, and shows in it what it
                showed before, while at most this share of the cells has changed or moved since the
                last frame that it computed, and at most so many frames in a row. Such cells are
                computed with the next frame that it does compute. What the gate emits stays the
                same; ``tokenize`` stores for a cell that is kept in such a frame the features that
                its place showed before. It pays where a video changes slowly everywhere. None: no
                frame.

    Returns:
        A ``GatedTower``; with ``capacity`` a ``FixedTower``, which is one, too; for a video model
        with attention over space and time, a ``GatedClips``.

    Raises:
        ImportError: transformers is older than 5.17.
        TypeError: the tower is not supported, or the gate has no such setting.
        ValueError: there is neither a processor nor mean and std; the processor is not known;
            sizes of tower, processor and gate do not fit; weights have several dtypes or devices.

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
        raise ValueError("layer_capacity: it needs capacity, which was not given")
    known = calibrated(tower) if settings.get("context", "full") == "full" else {}
    fidelity, gate = Fidelity.split({**known, **settings})
    if isinstance(tower, GatedTower):
        raise ValueError("tower: it is gated already; the original model is its .tower")
    found = tower_of(tower)
    found.check_dtype()
    found.check_calls()
    spec = pixel_spec(found, processor, mean, std)
    found = found.fitted(spec)
    if feature_layer is not None:
        found = found.ended(feature_layer)
    rules = gate_settings(found, gate)
    fidelity.check_gate(rules)
    if capacity is not None and rules.memory:
        raise ValueError(
            "memory: not available with capacity, because a picture that returns is found between "
            "frames; use gated(...) without capacity"
        )
    parts = (tower, found, spec, rules, fidelity)
    if capacity is None:
        return GatedTower(*parts, output)
    if output != "dense":
        raise ValueError(f'output: with capacity "dense" only, got {output!r}')
    return FixedTower(*parts, capacity, layer_capacity)
