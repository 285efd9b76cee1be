"""Images beside the videos of a prompt. Letters: L ids of a prompt."""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from patchgate.encoders.gated.stand_in import StandIn
from patchgate.language.positions import PromptSpan


class Images(NamedTuple):
    """The images of a prompt, in the order of their placeholders."""

    pad: int | None  # the placeholder; None: the model takes no images
    spans: list[PromptSpan]  # the positions of each image's tokens
    encoded: Any  # the tower's output for all of them, for ``mm_encoder_outputs``; None: no images

    def one_each(self, ids: Tensor) -> Tensor:
        """Reduces a prompt to one placeholder for each image.

        Args:
            ids: ``[L]`` integers, with one placeholder for each image, or for each of its tokens.

        Raises:
            ValueError: there is another number of placeholders, or text between those of an image.
        """
        at = [] if self.pad is None else (ids == self.pad).nonzero().flatten().tolist()
        lengths = [span.place.shape[1] for span in self.spans]
        if len(at) == len(lengths):
            return ids
        if not lengths:
            raise ValueError(
                f"input_ids: got {len(at)} placeholders of images ({self.pad}) and no images; pass "
                "images=, the output of the model's image processor"
            )
        if len(at) != sum(lengths):
            raise ValueError(
                f"input_ids: expected one placeholder ({self.pad}) for each of {len(lengths)} "
                f"images, or for each of their {sum(lengths)} tokens, got {len(at)}"
            )
        keep, begin = torch.ones_like(ids, dtype=torch.bool), 0
        for number, length in enumerate(lengths):
            first, last = at[begin], at[begin + length - 1]
            if last - first != length - 1:
                raise ValueError(
                    f"input_ids: expected the {length} placeholders of image {number} side by "
                    f"side, from {first} on, got text between them"
                )
            keep[first + 1 : last + 1] = False
            begin += length
        return ids[keep]


def qwen_images(model: Any, images: Mapping[str, Any] | None) -> Images:
    """Prepares images for a Qwen model. Each is a picture of one point in time.

    Args:
        model: the language model with its vision tower.
        images: ``pixel_values`` and ``image_grid_thw`` ``[images, 3]``, in tubelets and patches.

    Raises:
        TypeError, ValueError: these are missing or have other shapes.
    """
    pad = getattr(model.config, "image_token_id", None)
    if images is None:
        return Images(pad, [], None)
    pixel_values, grid_thw = _tensors(images, "pixel_values", "image_grid_thw")
    merge = model.config.vision_config.spatial_merge_size
    if grid_thw.dim() != 2 or grid_thw.shape[1] != 3 or grid_thw.is_floating_point():
        raise ValueError(
            f"images: expected an image_grid_thw of integers [images, 3], got "
            f"{list(grid_thw.shape)} {grid_thw.dtype}"
        )
    if len(pixel_values) != int(grid_thw.prod(1).sum()) or bool((grid_thw[:, 1:] % merge).any()):
        raise ValueError(
            f"images: image_grid_thw={grid_thw.tolist()} does not describe {len(pixel_values)} "
            f"patches in whole cells of {merge} x {merge}"
        )
    encoded = _with_dense_tower(model.model, "visual").get_image_features(
        pixel_values.to(model.device), grid_thw.to(model.device), return_dict=True
    )
    return Images(
        pad, [_picture(t, h // merge, w // merge) for t, h, w in grid_thw.tolist()], encoded
    )


def llava_images(model: Any, images: Mapping[str, Any] | None) -> Images:
    """Prepares images for a LLaVA-OneVision model, whose tokens are numbered one after the other.

    Args:
        model: the language model with its vision tower.
        images: ``pixel_values``, ``image_sizes`` and perhaps ``batch_num_images``.

    Raises:
        TypeError, ValueError: these are missing or have other shapes.
    """
    pad = getattr(model.config, "image_token_id", None)
    if images is None:
        return Images(pad, [], None)
    pixel_values, image_sizes = _tensors(images, "pixel_values", "image_sizes")
    encoded = _with_dense_tower(model.model, "vision_tower").get_image_features(
        pixel_values.to(model.device),
        image_sizes,
        batch_num_images=images.get("batch_num_images"),
        return_dict=True,
    )
    lengths = [len(each) for each in encoded.pooler_output]
    return Images(pad, [PromptSpan(torch.arange(n).expand(3, -1), n) for n in lengths], encoded)


def _picture(t: int, h: int, w: int) -> PromptSpan:
    """Returns the positions of an image's tokens in time, down and across."""
    place = torch.cartesian_prod(*(torch.arange(side) for side in (t, h, w)))  # [t * h * w, 3]
    return PromptSpan(place.view(-1, 3).T, max(h, w))


def _with_dense_tower(model: Any, name: str) -> Any:
    """Returns the model with its dense tower, because an image has no frame before it."""
    tower = getattr(model, name)
    if not isinstance(tower, StandIn):
        return model
    dense = copy.copy(model)
    dense.__dict__["_modules"] = {**model.__dict__["_modules"], name: tower.tower}
    return dense


def _tensors(images: Any, *names: str) -> tuple[Tensor, ...]:
    expected = f"images: expected what the model's image processor returns ({' and '.join(names)})"
    if not isinstance(images, Mapping):
        raise TypeError(f"{expected}, got {type(images).__name__}")
    missing = [name for name in names if not isinstance(images.get(name), Tensor)]
    if missing:
        raise ValueError(f"{expected}, got no Tensor {missing[0]} in {sorted(images)}")
    return tuple(images[name] for name in names)
