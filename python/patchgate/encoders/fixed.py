"""A gated tower of fixed capacity, for ``torch.compile``.

Letters: T frames, N cells, K capacity, M tokens of a frame, H W pixels, D features.
"""

import math
from dataclasses import asdict
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from patchgate._check import checked_count
from patchgate.colour import rgb_to_ycbcr
from patchgate.encoders.fidelity import Fidelity
from patchgate.encoders.fixed_run import encode_fixed
from patchgate.encoders.gated_tower import GatedTower
from patchgate.encoders.pixels import _OVERSHOOT
from patchgate.encoders.processor import PixelSpec
from patchgate.encoders.tower import Tower
from patchgate.gate import Gate
from patchgate.gate_settings import GateSettings


class FixedTower(GatedTower):
    """What ``gated(tower, ..., capacity=K)`` returns: a gated tower whose calls cost the same
    whatever the frames show, read nothing back from the device, and compile to one graph.

    In every call it computes the first K kept cells of a clip, in order of frames and cells, and
    reserves the prefix tokens of all frames. Kept cells beyond these show what their place showed
    in the frame before, and so do cells that later refer to them. Nothing is raised for that, nor
    for pixel values that cannot be a picture's: both are left on the device, for ``check``.
    """

    capacity: int  # K, of one clip
    last_overflow: Tensor | None  # [1] int64: cells of the last call that did not fit
    last_in_range: Tensor | None  # [] bool: its pixel values can come from this mean and std

    def __init__(
        self,
        tower: nn.Module,
        family: Tower,
        spec: PixelSpec,
        settings: GateSettings,
        fidelity: Fidelity,
        capacity: int,
    ) -> None:
        super().__init__(tower, family, spec, settings, fidelity)
        _check_family(family)
        _check_fidelity(fidelity)
        self.capacity = checked_count("capacity", capacity, 1)
        self.last_overflow = self.last_in_range = None
        self._gate = Gate(**asdict(settings))
        self._check_capacity(family)

    def check(self) -> None:
        """That the last call showed what it should: one synchronisation.

        Raises:
            ValueError: more cells were kept than the capacity; pixel values that do not come from
                a processor with this mean and std; there was no call.
        """
        if self.last_overflow is None or self.last_in_range is None:
            raise ValueError("check: expected a call before it")
        overflow, in_range = torch.stack(
            [self.last_overflow[0], self.last_in_range.to(torch.int64)]
        ).tolist()
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

    def encode(self, *given: Any, **named: Any) -> NoReturn:
        raise ValueError("encode: not available with capacity; use gated(...) without it")

    def tokens(self, *given: Any, **named: Any) -> NoReturn:
        raise ValueError(
            "tokens: not available with capacity, for their number depends on the frames; use "
            "gated(...) without it"
        )

    def stream(self) -> NoReturn:
        raise ValueError(
            "stream: not available with capacity, where each call is a clip of its own; use "
            "gated(...) without it"
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, capacity={self.capacity}"

    def _states(
        self, family: Tower, frames: Tensor, clips: list[int], hidden: list[int]
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        _check_fidelity(self.fidelity)  # it may have been set since
        self._check_capacity(family)
        parts, in_range = [], []
        for clip in frames.split(clips):
            planes, fits = _planes(clip, self.pixel_spec)
            self._gate.reset()
            result = self._gate.push(planes)
            self._gate.reset()
            in_range.append(fits)
            parts.append(
                encode_fixed(family, self.fidelity.context, clip, result, self.capacity, hidden)
            )
        self.last_overflow = torch.stack([part.overflow for part in parts]).sum(0)
        self.last_in_range = torch.stack(in_range).all()
        names = parts[0].states
        states = {name: torch.cat([part.states[name] for part in parts]) for name in names}
        pooled = [part.pooled for part in parts if part.pooled is not None]
        return states, torch.cat(pooled) if pooled else None

    def _check_capacity(self, family: Tower) -> None:
        if self.capacity < family.cells:
            raise ValueError(
                f"capacity: expected at least {family.cells}, for a clip's first frame is kept "
                f"whole, got {self.capacity}"
            )


def _planes(pixel_values: Tensor, spec: PixelSpec) -> tuple[Tensor, Tensor]:
    """As ``gate_planes``, for all frames at once, and whether they are in range, ``[]`` bool.

    Compiled, a value half-way between two levels may fall the other way.
    """
    exact = torch.float64 if pixel_values.dtype == torch.float64 else torch.float32
    channels = zip(pixel_values.detach().unbind(1), spec.mean, spec.std, strict=True)
    levels = torch.stack([x.to(exact) * (255 * s) + 255 * m for x, m, s in channels], 1)
    low, high = -255 * _OVERSHOOT, 255 * (1 + _OVERSHOOT)
    in_range = ((levels >= low) & (levels <= high)).all()  # NaN is not
    rgb = levels.round().clamp(0, 255).nan_to_num().to(torch.uint8)
    return rgb_to_ycbcr(rgb), in_range


def _check_family(family: Tower) -> None:
    """Raises for towers whose shapes are not known beforehand, or whose rows are not one a cell."""
    why = None
    if family.tokens_per_cell > 1 or family.temporal_patch > 1:
        why = "of which a cell is several patches"
    elif family.grid_size is None:
        why = "whose pictures have a size that is read from a tensor"
    elif any(family.windows(layer) is not None for layer in range(family.depth)):
        why = "whose attention has windows"
    if why is not None:
        name = type(family.model).__name__
        raise ValueError(f"capacity: not available for {name}, {why}; leave it out")


def _check_fidelity(fidelity: Fidelity) -> None:
    """Raises for settings that make the number of computed tokens depend on the data."""
    if fidelity.context == "full" and fidelity.tolerance < math.inf:
        raise ValueError(
            f"tolerance: {fidelity.tolerance:g} is not available with capacity, for it cannot be "
            "known beforehand how many tokens become active; use tolerance=math.inf (plain "
            'residual attention) or context="kept", or leave capacity out'
        )
    if fidelity.refresh is not None:
        raise ValueError("refresh: not available with capacity; leave one of them out")
    if fidelity.repositions:
        raise ValueError("reposition: not available with capacity; pass reposition=False")
