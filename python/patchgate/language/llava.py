"""LLaVA-OneVision. Letters: T frames, h w cells, L ids of a prompt, L' of the one with videos, n
pooled cells, D features of the tower, E of the language model.
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

_FRAMES = 16  # brought to the dense layout at a time


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

    The model halves the frame's grid by bilinear pooling, for which the cells are brought to their
    places first, ``_FRAMES`` frames at a time.

    Args:
        model: its projector, pooling and configuration are used.
        input_ids: ``[L]`` or ``[1, L]`` integers, one prompt with one placeholder for each video.
        videos: in the order of their placeholders. Their features are the hidden state that the
            model selects: those of ``gated(model.model.vision_tower, ...,
            feature_layer=model.config.vision_feature_layer)``. The tower's last hidden state is
            another: it has one more layer norm.
        layout: ``"packed"``: pooled cells of which a part was kept, and all of the first frame;
            of merged tokens, those of which a part is a token's place. ``"dense"``: all, as the
            model itself has it.
        positions: ``"dense"``: each token stands where it would in the dense layout. ``"compact"``:
            one after the other.
        images: in the prompt, as the model's image processor returns them (``pixel_values``,
            ``image_sizes`` and perhaps ``batch_num_images``), in the order of their placeholders:
            one for each image, or one for each of its tokens, as the model's own processor writes
            them. Their features are handed over with those of the videos; the model takes no
            ``pixel_values`` beside these.

    Returns:
        ``input_ids`` ``attention_mask`` ``position_ids`` ``[1, L']``, and ``mm_encoder_outputs``.

    Raises:
        ImportError: a model of a transformers before 5.18: it takes no ready tokens.
        TypeError, ValueError: a prompt, videos, images or features that do not fit the model; the
            placeholder of an image without ``images``.
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
        mask, features = _pooled(model.model, video, layout)  # [T, n], [K, E]
        place = mask.flatten().nonzero().flatten()
        if positions == "compact":
            place = arange(len(place))
        extent = mask.numel() if positions == "dense" else len(place)
        prompt.run(PromptSpan(place.expand(3, -1), extent), pad)
        prompt.text([pad])  # the end of the video is a token of the model's own
        outputs += [features, model.model.image_newline[None].to(features)]
    prompt.passage(texts[-1])
    encoded = BaseModelOutputWithPooling(pooler_output=torch.cat(outputs)[None])
    return prompt.inputs(model, encoded, axes=1)


def _pooled(model: Any, video: VideoTokens, layout: Layout) -> tuple[Tensor, Tensor]:
    """Finds which pooled cells the layout shows, ``[T, n]`` bool, and their features ``[K, E]``."""
    side = model.config.vision_config.image_size // model.config.vision_config.patch_size
    if video.shape[1:] != (side, side):
        raise ValueError(
            f"videos: the model's tower has frames of {side} x {side} cells, got "
            f"{video.shape.h} x {video.shape.w}"
        )
    first = base(model.multi_modal_projector.linear_1)
    check_width(video.features, first.in_features)
    half = -(-side // 2)
    shown = shown_mask(video) if layout == "packed" else torch.ones_like(video.kind)
    # Pooling a mask as the features are pooled says which cells a pooled one is made of.
    mask = nn.functional.interpolate(shown[None].double(), (half, half), mode="bilinear")[0] > 0
    mask = mask.flatten(1)  # [T, n]
    projected = model.multi_modal_projector(video.features.to(first.weight))  # [K, E]
    parts = []
    for source, wanted in zip(video.source.split(_FRAMES), mask.split(_FRAMES), strict=True):
        if bool(wanted.any()):
            dense = _ops.expand(projected, source.flatten(1).to(projected.device))
            parts.append(model.apply_pooling(dense)[wanted])
    return mask, torch.cat(parts)
