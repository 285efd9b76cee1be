"""Inputs for LLaVA-OneVision.

Letters: T frames, L ids of the given prompt, L' ids of the prompt with videos, n pooled cells of a
frame, K tokens, E features of a token for the language model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from patchgate import _ops
from patchgate._check import LANGUAGE_MODELS, check_transformers, checked_choice
from patchgate._tensors import arange
from patchgate.encoders.projection import base
from patchgate.language.images import llava_images
from patchgate.language.positions import PromptSpan
from patchgate.language.prompt import (
    Layout,
    Positions,
    Prompt,
    check_model,
    check_width,
    shown_mask,
    split_prompt,
)
from patchgate.tokens import VideoTokens

_FRAMES = 16  # how many frames are expanded to the dense layout at a time


def llava_onevision_inputs(
    model: Any,
    input_ids: Tensor,
    videos: VideoTokens | Sequence[VideoTokens],
    *,
    layout: Layout = "packed",
    positions: Positions = "dense",
    images: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Makes the arguments of a ``LlavaOnevisionForConditionalGeneration``'s call.

    The model halves the frame's grid by bilinear pooling. For that, features are first expanded to
    all cells, a few frames at a time.

    Args:
        model: the function uses its projector, pooling and configuration.
        input_ids: ``[L]`` or ``[1, L]`` integers, one prompt with one placeholder for each video.
        videos: the videos in the order of their placeholders. Their features are the hidden state
            that the model selects: those of ``gated(model.model.vision_tower, ...,
            feature_layer=model.config.vision_feature_layer)``. The tower's last hidden state
            differs from it by one more layer norm.
        layout: ``"packed"``: pooled cells of which a part was kept, and all of the first frame;
            with merged tokens, those of which a part is the place of a token. ``"dense"``: all, as
            in the model's own prompts.
        positions: ``"dense"``: each token has the position of its cell in the dense layout.
            ``"compact"``: tokens are numbered one after the other.
        images: the images of the prompt, in the order of their placeholders, from the model's image
            processor (``pixel_values``, ``image_sizes`` and perhaps ``batch_num_images``). There
            may be one placeholder for each image or one for each of its tokens, as in prompts of
            the model's own processor. The result has the features of images, too: do not pass
            ``pixel_values`` to the model.

    Returns:
        ``input_ids``, ``attention_mask`` and ``position_ids``, ``[1, L']`` int64 each, and
        ``mm_encoder_outputs``, on the model's device. The call synchronises.

    Raises:
        ImportError: transformers is older than 5.18, whose models do not take encoded tokens.
        TypeError, ValueError: the prompt, videos, images or features do not fit the model, or the
            prompt has the placeholder of an image and there are no ``images``.
    """
    check_transformers("model", model, LANGUAGE_MODELS)
    from transformers.modeling_outputs import BaseModelOutputWithPooling  # only where it is

    layout = checked_choice("layout", layout, ("packed", "dense"))
    positions = checked_choice("positions", positions, ("dense", "compact"))
    check_model(model)
    pad, pictures = model.config.video_token_id, llava_images(model, images)
    texts, videos = split_prompt(input_ids, videos, pad, pictures)
    prompt, outputs = Prompt(pictures), []
    for text, video in zip(texts, videos, strict=False):
        prompt.passage(text)
        mask, features = _pooled(model.model, video, layout)  # [T, n], [shown pooled cells, E]
        place = mask.flatten().nonzero().flatten()
        if positions == "compact":
            place = arange(len(place))
        extent = mask.numel() if positions == "dense" else len(place)
        prompt.span(PromptSpan(place.expand(3, -1), extent), pad)
        prompt.text([pad])  # the model has a token of its own for the end of the video
        outputs += [features, model.model.image_newline[None].to(features)]
    prompt.passage(texts[-1])
    encoded = BaseModelOutputWithPooling(pooler_output=torch.cat(outputs)[None])
    return prompt.inputs(model, encoded, axes=1)


def pooled_mask(model: Any, video: VideoTokens, layout: Layout) -> Tensor:
    """Finds which pooled cells a layout shows, ``[T, n]`` bool.

    Args:
        model: the language model's ``model``.
    """
    side = model.config.vision_config.image_size // model.config.vision_config.patch_size
    if video.shape[1:] != (side, side):
        raise ValueError(
            f"videos: the model's tower has frames of {side} x {side} cells, got "
            f"{video.shape.h} x {video.shape.w}"
        )
    half = -(-side // 2)
    shown = shown_mask(video) if layout == "packed" else torch.ones_like(video.kind)
    # Pooling a mask in the same way as features finds the pooled cells that have a shown part.
    mask = nn.functional.interpolate(shown[None].double(), (half, half), mode="bilinear")[0] > 0
    return mask.flatten(1)


def _pooled(model: Any, video: VideoTokens, layout: Layout) -> tuple[Tensor, Tensor]:
    """Finds which pooled cells the layout shows, ``[T, n]`` bool, and returns their features."""
    mask = pooled_mask(model, video, layout)
    first = base(model.multi_modal_projector.linear_1)
    check_width(video.features, first.in_features)
    table, rows = video.rows()  # [K + n, D], [T, h, w]: moved cells are means, as in dense()
    projected = model.multi_modal_projector(table.to(first.weight))  # [K + n, E]
    parts = []
    for row, wanted in zip(rows.split(_FRAMES), mask.split(_FRAMES), strict=True):
        if bool(wanted.any()):
            dense = _ops.expand(projected, row.flatten(1).to(projected.device))
            parts.append(model.apply_pooling(dense)[wanted])
    return mask, torch.cat(parts)
