"""A gated tower of fixed capacity, for ``torch.compile``.

Letters: T frames, N cells, K capacity, M tokens of a frame, H W pixels, D features.
"""

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from patchgate._check import checked_count
from patchgate.colour import rgb_to_ycbcr
from patchgate.encoders.gated.pixels import _OVERSHOOT
from patchgate.encoders.gated.tower import GatedTower
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.fixed import FixedFrames, encode_fixed
from patchgate.encoders.run.fixed_watch import encode_watched
from patchgate.encoders.tower import Tower
from patchgate.gate import GateResult, GateSettings
from patchgate.gate.run import gate_clip
from patchgate.gather import PixelSpec


class FixedTower(GatedTower):
    """A gated tower of fixed capacity: what ``gated(tower, ..., capacity=K)`` returns.

    A call costs the same whatever the frames show, reads nothing back from the device, and compiles
    to one graph. It computes the first K kept cells of a clip, in order of frames and cells, and
    has room for the prefix tokens of all frames. Any further kept cells show what their place
    showed in the frame before, and so do cells that refer to them later.

    With a finite tolerance (or new positions), more cells are computed than were kept; each layer
    has room for ``layer_capacity`` of them. Rooms are given in order of frames. A cell that becomes
    active when its layer has no more room stays as it was. A moved cell for which there is no room
    keeps the state of its source.

    A call raises no error for any of these cells, nor for pixel values outside of the range. It
    counts them on the device, and ``check`` raises the error.
    """

    traceable = True  # its calls become part of a compiled graph
    capacity: int  # K, the kept cells of a clip that are computed
    layer_capacity: tuple[int, ...]  # the cells of a clip that each layer has room for
    last_overflow: Tensor | None  # [1] int64: kept cells of the last call that did not fit
    last_layer_overflow: Tensor | None  # [1 + depth] int64: moved cells, and others of each layer
    last_in_range: Tensor | None  # [] bool: its pixel values can come from this mean and std

    def __init__(
        self,
        model: nn.Module,
        tower: Tower,
        spec: PixelSpec,
        settings: GateSettings,
        fidelity: Fidelity,
        capacity: int,
        layer_capacity: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__(model, tower, spec, settings, fidelity)
        _check_tower(tower)
        _check_fidelity(fidelity)
        self.capacity = checked_count("capacity", capacity, 1)
        if layer_capacity is not None and not _varies(fidelity):
            raise ValueError(
                "layer_capacity: every layer computes the kept cells only, without a tolerance and "
                "new positions; leave it out"
            )
        self.layer_capacity = _layers(layer_capacity, self.capacity, tower.computed_layers)
        self.last_overflow = self.last_layer_overflow = self.last_in_range = None
        self._check_capacity(tower)

    def check(self) -> None:
        """Checks that the last call left no cell out. Synchronises once.

        Raises:
            ValueError: more cells were kept than the capacity, or more were to be computed than a
                layer has room for; the pixel values do not come from a processor with this mean and
                std; there was no call.
        """
        if self.last_overflow is None or self.last_in_range is None:
            raise ValueError("check: expected a call before it")
        counts = [self.last_in_range.to(torch.int64)[None], self.last_overflow]
        if self.last_layer_overflow is not None:
            counts.append(self.last_layer_overflow)
        in_range, overflow, *layers = torch.cat(counts).tolist()
        if not in_range:
            raise ValueError(
                "pixel_values: expected 0..1 as RGB, got NaN or values far outside of it: they do "
                f"not come from a processor with mean={self.pixel_spec.mean} and "
                f"std={self.pixel_spec.std}"
            )
        if overflow:
            raise ValueError(
                f"capacity: {overflow} kept cells more than capacity={self.capacity}; take a "
                "larger one, or fewer frames a clip"
            )
        if any(layers):
            where = ["on entering", *(f"in layer {i}" for i in range(len(layers) - 1))]
            beyond = ", ".join(f"{n} {at}" for n, at in zip(layers, where, strict=True) if n)
            raise ValueError(
                f"layer_capacity: tokens more than layer_capacity={self.layer_capacity}: {beyond}; "
                "take larger ones, a larger tolerance, or fewer frames a clip"
            )

    def encode(self, *given: Any, **named: Any) -> NoReturn:
        raise ValueError("encode: not available with capacity; use gated(...) without it")

    def tokens(self, *given: Any, **named: Any) -> NoReturn:
        raise ValueError(
            "tokens: not available with capacity, because their number depends on the frames; use "
            "gated(...) without it"
        )

    def stream(self, streams: int | None = None) -> NoReturn:
        raise ValueError(
            "stream: not available with capacity, because each call is a whole clip; use "
            "gated(...) without it"
        )

    def sized(self, height: int, width: int) -> NoReturn:
        raise ValueError(
            "tower: one with capacity takes whole clips only; use gated(...) without it"
        )

    def extra_repr(self) -> str:
        room = f", layer_capacity={self.layer_capacity}" if _varies(self.fidelity) else ""
        return f"{super().extra_repr()}, capacity={self.capacity}{room}"

    def _states(
        self, tower: Tower, frames: Tensor, clips: list[int], hidden: list[int]
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        _check_fidelity(self.fidelity)  # it may have been set since
        self._check_capacity(tower)
        parts, in_range = [], []
        for clip in frames.split(clips):
            planes, fits = _planes(clip, self.pixel_spec)
            result = gate_clip(planes, self.gate_settings)
            in_range.append(fits)
            parts.append(self._encode_fixed(tower, clip, result, hidden))
        overflow = torch.stack([part.overflow for part in parts]).sum(0)
        layers = [part.layers for part in parts if part.layers is not None]
        beyond = torch.stack(layers).sum(0) if layers else None
        fit = torch.stack(in_range).all()
        names = parts[0].states
        states = {name: torch.cat([part.states[name] for part in parts]) for name in names}
        each = [part.pooled for part in parts if part.pooled is not None]
        pooled = torch.cat(each) if each else None
        # Set only here, so that ``check`` knows nothing of a call that failed.
        self.last_overflow, self.last_layer_overflow, self.last_in_range = overflow, beyond, fit
        return states, pooled

    def _encode_fixed(
        self, tower: Tower, clip: Tensor, result: GateResult, hidden: list[int]
    ) -> FixedFrames:
        fidelity = self.fidelity
        if not _varies(fidelity):
            return encode_fixed(tower, fidelity.context, clip, result, self.capacity, hidden)
        return encode_watched(
            tower, fidelity, clip, result, self.capacity, self.layer_capacity, hidden
        )

    def _check_capacity(self, tower: Tower) -> None:
        if self.capacity < tower.cells:
            raise ValueError(
                f"capacity: expected at least {tower.cells}, because a clip's first frame is kept "
                f"whole, got {self.capacity}"
            )


def _planes(pixel_values: Tensor, spec: PixelSpec) -> tuple[Tensor, Tensor]:
    """Does what ``gate_planes`` does, for all frames at once.

    It also returns whether all values are in range, ``[]`` bool. In a compiled graph, a value
    half-way between two levels may be rounded in the other direction.
    """
    exact = torch.float64 if pixel_values.dtype == torch.float64 else torch.float32
    channels = zip(pixel_values.detach().unbind(1), spec.mean, spec.std, strict=True)
    levels = torch.stack([x.to(exact) * (255 * s) + 255 * m for x, m, s in channels], 1)
    low, high = -255 * _OVERSHOOT, 255 * (1 + _OVERSHOOT)
    in_range = ((levels >= low) & (levels <= high)).all()  # NaN is not
    rgb = levels.round().clamp(0, 255).nan_to_num().to(torch.uint8)
    return rgb_to_ycbcr(rgb), in_range


def _check_tower(tower: Tower) -> None:
    """Raises if the tower's shapes are not known beforehand, or a cell has several rows."""
    why = None
    if tower.tokens_per_cell > 1 or tower.temporal_patch > 1:
        why = "of which a cell is several patches"
    elif tower.grid_size is None:
        why = "whose pictures have a size that is read from a tensor"
    elif any(tower.windows(layer) is not None for layer in range(tower.computed_layers)):
        why = "whose attention has windows"
    if why is not None:
        name = type(tower.model).__name__
        raise ValueError(f"capacity: not available for {name}, {why}; leave it out")


def _check_fidelity(fidelity: Fidelity) -> None:
    """Raises if a setting is not available with a capacity."""
    for name in ("refresh", "pass_over"):
        if getattr(fidelity, name) is not None:
            raise ValueError(f"{name}: not available with capacity; leave one of them out")


def _varies(fidelity: Fidelity) -> bool:
    """Whether layers compute more than the kept cells."""
    watched = fidelity.context == "full" and fidelity.tolerance < math.inf
    return watched or fidelity.repositions


def _layers(given: int | Sequence[int] | None, capacity: int, depth: int) -> tuple[int, ...]:
    """Returns how many cells each layer has room for; ``given`` None: twice the capacity."""
    if given is None:
        given = 2 * capacity
    several = given if isinstance(given, Sequence) else (given,) * depth
    counts = tuple(checked_count("layer_capacity", count, 1) for count in several)
    if len(counts) != depth:
        raise ValueError(
            f"layer_capacity: expected one number, or one for each of the {depth} layers, got "
            f"{len(counts)}"
        )
    for low, count in zip((capacity, *counts), counts, strict=False):
        if count < low:
            raise ValueError(
                f"layer_capacity: expected at least capacity={capacity}, and no layer less than "
                "the one before it, because all cells that a layer computes are computed by later "
                f"layers, too; got {counts}"
            )
    return counts
