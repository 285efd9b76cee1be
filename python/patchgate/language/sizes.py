"""How large the frames of a video become, by its message and the model's processor."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from patchgate.gather import PixelSpec
from patchgate.gather.resize import PixelRange, SizeRule, Stretch, VideoPixelRange

_SIZES = ("min_pixels", "max_pixels", "total_pixels", "resized_height", "resized_width")


def size_rule(where: str, settings: Mapping[str, Any], spec: PixelSpec, frames: int) -> SizeRule:
    """Returns the rule of resizing for one video.

    Args:
        where: the place of the video, for messages.
        settings: of the message. ``min_pixels`` and ``max_pixels`` are those of a frame,
            ``total_pixels`` those of all tubelets together, as in qwen-vl-utils.
        spec: what the processor does.
        frames: the number of frames of the video.

    Raises:
        ValueError: the model's frames have one size only.
    """
    rule = spec.size
    if isinstance(rule, VideoPixelRange):
        rule = rule.of_frames(frames)
    named = [name for name in _SIZES if name in settings]
    if not named:
        return rule
    if not isinstance(rule, PixelRange | VideoPixelRange):
        raise ValueError(
            f"{where}: {', '.join(named)}: the frames of this model have one size; leave this out"
        )
    if "resized_height" in settings:
        sides = settings["resized_height"], settings["resized_width"]
        return Stretch(*(max(1, round(side / spec.cell)) * spec.cell for side in sides))
    return _bounded(rule, settings, spec, frames)


def _bounded(
    rule: PixelRange | VideoPixelRange, settings: Mapping[str, Any], spec: PixelSpec, frames: int
) -> SizeRule:
    """Puts the bounds of a message in place of the processor's."""
    per_video = isinstance(rule, VideoPixelRange) and rule.per_video
    deep = frames if per_video else 1  # frames whose pixels a bound counts
    least, most = rule.least, rule.most
    if "max_pixels" in settings:
        most = settings["max_pixels"] * deep
        if per_video and "total_pixels" not in settings:
            most = min(most, rule.most)
    elif per_video and "total_pixels" in settings:
        most = settings["total_pixels"] * spec.temporal_patch
    if "total_pixels" in settings:
        most = min(most, settings["total_pixels"] * spec.temporal_patch * deep // frames)
    if isinstance(rule, VideoPixelRange) and per_video and rule.cap is not None:
        most = min(most, rule.cap * spec.cell**2 * deep)
        rule = replace(rule, cap=None)  # it is in ``most`` now
    if "min_pixels" in settings:
        least = settings["min_pixels"] * deep
        most = max(most, least)  # what a frame needs comes before what the video may have
    return replace(rule, least=min(least, most), most=max(1, most))
