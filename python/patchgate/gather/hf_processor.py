"""Reads what a Hugging Face processor does from its attributes, or from those that its
``preprocessor_config.json`` lists; transformers is not imported.

Nothing is guessed: a class or a setting that is not known here is an error.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace
from typing import Any, get_args

from patchgate._check import checked_count
from patchgate._check.text import a_or_an
from patchgate.gather.resize import (
    Filter,
    FirstPass,
    Keep,
    PatchBudget,
    PixelRange,
    ShortestEdge,
    SizeRule,
    Stretch,
    VideoPixelRange,
)

_KINDS = {
    "SiglipImageProcessor": "plain",
    "CLIPImageProcessor": "plain",
    "ViTImageProcessor": "plain",
    "BitImageProcessor": "plain",
    "DINOv3ViTImageProcessor": "floats",
    "Gemma3ImageProcessor": "plain",
    "GotOcr2ImageProcessor": "plain",
    "InternVLVideoProcessor": "plain",
    "Qwen2VLImageProcessor": "pixels",
    "Qwen2VLVideoProcessor": "pixels",
    "Qwen3VLVideoProcessor": "video",
    "LlavaOnevisionVideoProcessor": "plain",
    "Siglip2ImageProcessor": "patches",
}
_PLAIN = ("plain", "floats")  # the second resize floats, not u8
# Flags with which a picture becomes several.
_SEVERAL = ("crop_to_patches", "do_pan_and_scan", "do_image_splitting")
# These resize to the longest edge first, and then to a square.
_TWICE = ("Idefics3ImageProcessor", "SmolVLMImageProcessor", "SmolVLMVideoProcessor")
_CROPS = ("CLIPImageProcessor", "BitImageProcessor")  # by default
# Flags of a description, and what each needs beside it: defaults are the class's, and not in it.
_NEEDED: dict[str, tuple[str, ...]] = {
    "do_resize": ("resample",),
    "do_rescale": ("rescale_factor",),
    "do_normalize": ("image_mean", "image_std"),
}
_FILTERS: dict[Any, Filter] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


_SIDES = {"patch": "patch_size", "merge": "merge_size", "temporal_patch": "temporal_patch_size"}


def read_processor(processor: Any) -> dict[str, Any]:
    """Returns arguments of ``PixelSpec``: all but the patch's sides, if the processor has none."""
    processor = _described(processor) if isinstance(processor, dict) else _innermost(processor)
    _check_once(processor)
    kind = _kind(processor)
    mean, std = _normalisation(processor)
    sides = {name: getattr(processor, attribute, None) for name, attribute in _SIDES.items()}
    return {
        "size": _size_rule(processor, kind),
        "mean": mean,
        "std": std,
        "crop": _crop(processor) if kind in _PLAIN else None,
        "filter": _filter(processor, kind),
        "rescale": processor.rescale_factor if _on(processor, "do_rescale") else 1.0,
        "channels_last": kind == "patches",
        "first_pass": "horizontal" if kind == "floats" else _first_pass(processor),
        **{name: side for name, side in sides.items() if side is not None},
    }


def _described(settings: dict[str, Any]) -> Any:
    """Makes an object with the attributes of the processor that a ``preprocessor_config.json``
    describes. Some of the classes themselves cannot be made without torchvision.
    """
    name = settings.get("image_processor_type")
    if not isinstance(name, str):
        raise ValueError(
            "processor: expected a dictionary with image_processor_type, as a "
            f"preprocessor_config.json has it, got {sorted(map(str, settings))}; of others, as "
            "timm's data configuration, give mean= and std=, or a PixelSpec"
        )
    flags = [*_NEEDED, *(["do_center_crop"] if name.removesuffix("Fast") in _CROPS else [])]
    needed = [*flags, *(each for flag in _NEEDED if settings.get(flag) for each in _NEEDED[flag])]
    missing = [each for each in needed if each not in settings]
    if missing:
        raise ValueError(
            f"processor: this description of {a_or_an(name)} lacks {', '.join(missing)}"
        )
    return type(name, (SimpleNamespace,), {})(**settings)


def _innermost(processor: Any) -> Any:
    if type(processor).__name__.removesuffix("Pil").removesuffix("Fast") in _KINDS:
        return processor
    for name in ("video_processor", "image_processor"):
        inner = getattr(processor, name, None)
        if inner is not None:
            return inner
    return processor


def _check_once(processor: Any) -> None:
    """Raises a ``ValueError`` unless a frame becomes one picture, by one resize."""
    name = type(processor).__name__.removesuffix("Pil").removesuffix("Fast")
    if name in _TWICE:
        raise ValueError(
            f"processor: {name} resizes each frame twice, to its longest edge and to a square, "
            "which is not one resize. For pixel values that it made, give mean= and std=; to "
            'resize frames once, PixelSpec(size=, mean=, std=, patch=, filter="lanczos")'
        )
    for flag in _SEVERAL:
        if _on(processor, flag):
            raise ValueError(
                f"processor: {name} with {flag}=True makes several pictures of one; switch it off "
                "for video"
            )


def _kind(processor: Any) -> str:
    """Finds the kind by the class's own name only: a subclass may do anything."""
    name = type(processor).__name__
    kind = _KINDS.get(name.removesuffix("Pil").removesuffix("Fast"))
    if kind is None:
        raise ValueError(
            f"processor: {name} is none of {', '.join(_KINDS)}; describe it with "
            "PixelSpec(size=, mean=, std=, patch=, ..)"
        )
    if _on(processor, "do_pad"):
        raise ValueError(f"processor: {name} with do_pad=True is not supported")
    return kind


def _size_rule(processor: Any, kind: str) -> SizeRule:
    if not _on(processor, "do_resize"):
        return Keep()
    if kind == "patches":
        return PatchBudget(checked_count("max_num_patches", processor.max_num_patches, 1))
    size = _entries(processor, "size")
    if kind in ("pixels", "video") and size.keys() == {"shortest_edge", "longest_edge"}:
        bounds = size["shortest_edge"], size["longest_edge"]
        capped = _on(processor, "cap_pixels_per_frame")
        if kind == "pixels" and not capped:
            return PixelRange(*bounds)
        return VideoPixelRange(
            *bounds,
            per_video=kind == "video",
            group=processor.temporal_patch_size,
            cap=_cap(processor) if capped else None,
            most_frames=getattr(processor, "max_frames", None),
        )
    if kind in _PLAIN and size.keys() == {"height", "width"}:
        return Stretch(size["height"], size["width"])
    if kind in _PLAIN and size.keys() == {"shortest_edge"}:
        return ShortestEdge(size["shortest_edge"])
    raise ValueError(f"processor: {type(processor).__name__} with size={size} is not supported")


def _cap(processor: Any) -> int:
    cap = getattr(processor, "max_video_tokens", None)
    if cap is None:
        raise ValueError(
            f"processor: {type(processor).__name__} with cap_pixels_per_frame=True is not "
            "supported without max_video_tokens"
        )
    return checked_count("max_video_tokens", cap, 1)


def _crop(processor: Any) -> tuple[int, int] | None:
    if not _on(processor, "do_center_crop"):
        return None
    size = _entries(processor, "crop_size")
    if size.keys() != {"height", "width"}:
        raise ValueError(f"processor: crop_size must have height and width, got {size}")
    return size["height"], size["width"]


def _normalisation(processor: Any) -> tuple[Any, Any]:
    if not _on(processor, "do_normalize"):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return processor.image_mean, processor.image_std


def _filter(processor: Any, kind: str) -> Filter:
    resample = getattr(processor, "resample", None)
    if resample is None:
        return "bilinear"  # the back end's default
    # torchvision's InterpolationMode has the name as its value, Pillow's Resampling a number.
    value = getattr(resample, "value", resample)
    value = _FILTERS.get(value, value)
    # Floats are not clamped where the others overshoot.
    if value not in get_args(Filter) or (kind == "floats" and value != "bilinear"):
        raise ValueError(f"processor: resample={resample!r} is not supported")
    return value


def _first_pass(processor: Any) -> FirstPass:
    """Returns the first pass of the back end that this processor would use here."""
    name = type(processor).__name__
    if getattr(processor, "backend", "pil") != "pil" or name.endswith(("Fast", "VideoProcessor")):
        return "horizontal"
    try:
        major = int(version("pillow").split(".")[0])
    except PackageNotFoundError:
        return "horizontal"
    return "pillow13" if major >= 13 else "horizontal"


def _entries(processor: Any, name: str) -> dict[str, int]:
    """Returns a size as a dictionary without empty entries; transformers has two types of it."""
    size = getattr(processor, name, None)
    if size is None:
        raise ValueError(f"processor: {type(processor).__name__} has no {name}")
    size = size if isinstance(size, dict) else vars(size)
    return {key: value for key, value in size.items() if value is not None}


def _on(processor: Any, flag: str) -> bool:
    return bool(getattr(processor, flag, None))
