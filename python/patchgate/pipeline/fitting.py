"""Fits a gate to a tower or a size, and a gate and features to a video's frames."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol, cast

import torch

from patchgate._check import checked_size
from patchgate.decode import Video
from patchgate.decode.packets.times import frame_times
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import Gate
from patchgate.gather.resize import VideoPixelRange
from patchgate.pipeline.features import Features, PixelFeatures, TowerFeatures
from patchgate.pipeline.given import Given

DEFAULT_SIZE = (378, 378)
_USUAL: Mapping[str, Any] = MappingProxyType({})  # the gate's default rules


class Seen(Protocol):
    """The size and the device of frames: a Video's, or a FrameBatch's."""

    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def device(self) -> torch.device: ...


def fitting_gate(
    tower: GatedTower | None,
    gate: Gate | None,
    size: int | tuple[int, int] | None,
    rules: Mapping[str, Any],
) -> Gate:
    """Makes a gate without state that fits the tower, if there is one, or else the size.

    Args:
        tower: a gated tower, or None.
        gate: a gate whose settings (and class, without a tower) are used; None: make one.
        size: ``(H, W)`` of the grid in pixels, if neither tower nor gate has one.
        rules: settings in place of the tower's, or of the defaults, if there is no gate (see
            ``parted``).
    """
    if tower is None:
        return sized_gate(gate, size, rules)
    return tower_gate(tower, gate, size, rules)


def prepared(source: Seen, tower: GatedTower | None, gate: Gate) -> tuple[Gate, Features]:
    """Makes the gate for a video's frames, and the features of the cells that it keeps.

    Args:
        source: the video, or a batch of its frames.
        tower, gate: as ``fitting_gate`` took and made them.
    """
    if tower is None:
        own = cast("tuple[int, int]", gate.size)
        return gate, PixelFeatures(gate.settings, own, source.device)
    tower, own = placed(source, tower)
    return gate.fresh(size=own), TowerFeatures(tower, own)


def placed(source: Seen, tower: GatedTower) -> tuple[GatedTower, tuple[int, int]]:
    """Returns the tower for a video, and the size ``(H, W)`` of its frames in pixels.

    The frames are counted if the processor resizes them by how many there are.

    Raises:
        ValueError: they cannot be counted before they come, or do not fit the tower.
    """
    rule = tower.pixel_spec.size
    if isinstance(rule, VideoPixelRange) and rule.frames is None:
        frames = source.frames if isinstance(source, Given) else None
        if isinstance(source, Video):
            frames = len(frame_times(source).pts_seconds)
        if frames is not None:
            tower = tower.resized(rule.of_frames(max(1, frames)))
    place = tower.pixel_spec.place(source.height, source.width)
    return tower, (place[0].size, place[1].size)


def tower_gate(
    tower: GatedTower,
    gate: Gate | None,
    size: int | tuple[int, int] | None,
    rules: Mapping[str, Any],
) -> Gate:
    """Makes a gate without state that fits the tower."""
    if not isinstance(tower, GatedTower):
        raise TypeError(
            f"tower: expected one made by patchgate.gated(...), got {type(tower).__name__}"
        )
    own = tower.gate_settings
    settings = replace(own, **rules) if gate is None else gate.settings
    for name in ("patch", "merge", "temporal_patch", "fit"):
        if getattr(settings, name) != getattr(own, name):
            raise ValueError(
                f"gate: the tower needs {name}={getattr(own, name)}, got {getattr(settings, name)}"
            )
    if settings.size not in (None, own.size):
        raise ValueError(f"gate: the tower needs size={own.size}, got {settings.size}")
    if size is not None and checked_size("size", size, 1) != own.size:
        raise ValueError(f"size: the tower takes {own.size}, got {size}")
    tower.fidelity.check_gate(settings)
    return Gate.of(replace(settings, size=own.size))


def sized_gate(
    gate: Gate | None, size: int | tuple[int, int] | None, rules: Mapping[str, Any] = _USUAL
) -> Gate:
    """Makes a gate without state, with the same settings (None: with these rules) and a size."""
    if gate is None:
        return Gate(size=DEFAULT_SIZE if size is None else size, **rules)
    if not isinstance(gate, Gate):
        raise TypeError(f"gate: expected a patchgate.Gate, got {type(gate).__name__}")
    own = gate.size
    if own is None:
        return gate.fresh(size=DEFAULT_SIZE if size is None else size)
    if size is not None and checked_size("size", size, 1) != own:
        raise ValueError(f"size: the gate has size={own}, got size={size} beside it")
    return gate.fresh()
