"""Counts what the gate keeps of a plan's frames, without their tokens.

Letters: T frames (or tubelets), h w cells.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from torch import Tensor

from patchgate._tensors import whole
from patchgate.gate import Gate
from patchgate.pipeline import token_chunks
from patchgate.policies.frames import Frames
from patchgate.policies.plan import Plan
from patchgate.policies.video.capped_gate import CappedGate
from patchgate.policies.video.looker import scaled, units_of
from patchgate.policies.video.statistics import NoFeatures
from patchgate.policies.video.wanted import WantedFrames


def plan_kinds(
    video: Any, frames: Frames, plan: Plan, gate: Gate, **options: Any
) -> Iterator[Tensor]:
    """Yields ``kind`` ``[T, h, w]`` uint8 of a plan's frames, as ``Looker`` would make them.

    Each clip and each scale of the plan goes through a gate of its own, whose first frame is whole.
    Memory does not grow with the plan.

    Args:
        video: a source of ``open_video`` that can be opened again.
        frames: all frames of the video, from ``container_frames``.
        plan: the frames to look at.
        gate: a gate with the size of the grid at scale 1, whose settings are used.
        options: of ``open_video``.

    Raises:
        OSError, ValueError: the video cannot be read.
    """
    for part in plan.parts():
        own = scaled(gate, float(part.scale[0]))
        units, ratios = units_of(part, own.settings.temporal_patch)
        numbers = whole([i for unit in units for i in unit]).unique()
        source = WantedFrames(video, frames, numbers, **options)
        capped = CappedGate(ratios, **asdict(own.settings))
        assert capped.size is not None
        for chunk in token_chunks(
            source, capped, features=NoFeatures(capped.settings, capped.size)
        ):
            yield chunk.kind
