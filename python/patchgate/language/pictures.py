"""The images of chat messages, as the model's image processor makes them."""

import os
from collections.abc import Sequence
from typing import Any

import torch

from patchgate._check.text import a_or_an
from patchgate.decode.pictures import is_pil
from patchgate.language.messages import Shown


def picture(where: str, source: Any) -> Any:
    """Opens a picture.

    Args:
        where: the place of the picture in the messages, for errors.
        source: a path, an address (file, http, https), base64 (``data:image/..``), or a picture of
            PIL, numpy or torch, which is returned as it is.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture.
    """
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str):
        if is_pil(source) or hasattr(source, "ndim"):
            return source
        came = a_or_an(type(source).__name__)
        raise TypeError(f"{where}: expected a path, an address or a picture, got {came}")
    from transformers.image_utils import load_image  # only where there is a model of it

    path = source.removeprefix("file://")
    remote = source.startswith(("http://", "https://", "data:"))
    if not remote and not os.path.isfile(path):
        raise FileNotFoundError(f"{where}: no such picture: {path} (in {os.getcwd()})")
    try:
        return load_image(source if remote else path).convert("RGB")
    except (OSError, ValueError) as error:
        raise ValueError(f"{where}: {source[:200]} cannot be read as a picture: {error}") from error


def qwen_pictures(processor: Any, images: Sequence[Shown]) -> dict[str, Any] | None:
    """Makes ``pixel_values`` and ``image_grid_thw`` of all images; None: there are none."""
    made = [_sized(processor, each) for each in images]
    names = ("pixel_values", "image_grid_thw")
    return {name: torch.cat([each[name] for each in made]) for name in names} if made else None


def llava_pictures(processor: Any, images: Sequence[Shown]) -> dict[str, Any] | None:
    """Makes ``pixel_values`` and their sizes of all images; None: there are none."""
    for each in images:
        if each.settings:
            raise ValueError(
                f"{each.where}: {', '.join(each.settings)}: the pictures of this model have one "
                "size; leave this out"
            )
    opened = [picture(each.where, each.source) for each in images]
    # In a list of lists, as of one prompt: several images of a prompt are not cut in parts.
    return dict(processor(images=[opened], return_tensors="pt")) if opened else None


def _sized(processor: Any, shown: Shown) -> Any:
    opened, settings = picture(shown.where, shown.source), shown.settings
    own = processor.size if isinstance(processor.size, dict) else vars(processor.size)
    size = {name: own[name] for name in ("shortest_edge", "longest_edge")}
    if "resized_height" in settings:
        opened = _stretched(opened, settings["resized_height"], settings["resized_width"])
    if "min_pixels" in settings:
        size["shortest_edge"] = settings["min_pixels"]
        size["longest_edge"] = max(size.values())
    if "max_pixels" in settings:
        size["longest_edge"] = settings["max_pixels"]
        size["shortest_edge"] = min(size.values())
    return processor(images=[opened], size=size, return_tensors="pt")


def _stretched(opened: Any, height: int, width: int) -> Any:
    from PIL import Image

    if not is_pil(opened):
        array = opened.numpy() if isinstance(opened, torch.Tensor) else opened
        opened = Image.fromarray(array.transpose(1, 2, 0) if array.shape[0] == 3 else array)
    return opened.resize((width, height), Image.Resampling.BICUBIC)
