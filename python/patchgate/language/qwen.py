"""Inputs for Qwen's vision-language models.

Letters: L ids of the given prompt, L' ids of the prompt with videos.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from patchgate._check import LANGUAGE_MODELS, check_transformers, checked_choice, checked_count
from patchgate.language.images import qwen_images
from patchgate.language.positions import (
    Place,
    qwen3_span,
    qwen25_span,
    split_deepstack,
    tubelet_seconds,
)
from patchgate.language.prompt import (
    Layout,
    Positions,
    Prompt,
    check_model,
    check_width,
    shown_cells,
    split_prompt,
)
from patchgate.tokens import VideoTokens


def qwen3_vl_inputs(
    model: Any,
    input_ids: Tensor,
    videos: VideoTokens | Sequence[VideoTokens],
    tokenizer: Any,
    *,
    layout: Layout = "packed",
    positions: Positions = "dense",
    place: Place = "first",
    decimals: int = 1,
    images: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Makes the arguments of a ``Qwen3VLForConditionalGeneration``'s call.

    Each frame that has tokens becomes its time in words (``<1.5 seconds>``), the mark where vision
    begins, a placeholder for each token, and the mark where it ends.

    Args:
        model: the function reads its configuration and device. If there are images, these go
            through its vision tower (a gated tower's original one, because an image has no frame
            before it).
        input_ids: ``[L]`` or ``[1, L]`` integers, one prompt: the chat template through the
            tokenizer, with one placeholder for each video (alone, or between the two marks).
        videos: the videos in the order of their placeholders, with features of ``model``'s gated
            tower.
        tokenizer: formats the times; it has ``encode(text, add_special_tokens=False)``.
        layout: ``"packed"``: only kept cells, and all cells of the first frame; each merged token
            once. ``"dense"``: every cell of every frame, as in the model's own prompts.
        positions: ``"dense"``: each token has the position of its cell in the dense layout.
            ``"compact"``: frames without tokens take no positions.
        place: the position of a token in the packed layout: that of the ``"first"`` of the cells
            that it represents, or their ``"mean"``.
        decimals: the decimals of a second in times. The model was trained with 1, which
            distinguishes ten tubelets a second.
        images: the images of the prompt, in the order of their placeholders, from the model's image
            processor (``pixel_values`` and ``image_grid_thw``). There may be one placeholder for
            each image or one for each of its tokens, as in prompts of the model's own processor.
            The result has the features of images, too: do not pass ``pixel_values`` to the model.

    Returns:
        ``input_ids`` and ``attention_mask`` ``[1, L']`` int64, ``position_ids`` ``[3, 1, L']``
        int64, and ``mm_encoder_outputs``, on the model's device. Videos and images have the
        positions that the model's ``get_rope_index`` gives them. The call synchronises.

    Raises:
        ImportError: transformers is older than 5.18, whose models do not take encoded tokens.
        TypeError, ValueError: the prompt, videos, images or features do not fit the model, or the
            prompt has the placeholder of an image and there are no ``images``.
    """
    options: dict[str, Any] = {
        "layout": layout,
        "positions": positions,
        "place": place,
        "decimals": decimals,
    }
    return timed_qwen3_inputs(model, input_ids, videos, None, tokenizer, images=images, **options)


def timed_qwen3_inputs(
    model: Any,
    input_ids: Tensor,
    videos: VideoTokens | Sequence[VideoTokens],
    times: Sequence[Tensor] | None,
    tokenizer: Any,
    *,
    layout: Any = "packed",
    positions: Any = "dense",
    place: Any = "first",
    decimals: Any = 1,
    images: Mapping[str, Any] | None = None,
    outer_marks: bool = False,
) -> dict[str, Any]:
    """Does what ``qwen3_vl_inputs`` does, with the times that the prompt says of each tubelet.

    Args:
        times: ``[T]`` float64 of each video, in seconds; None: ``tubelet_seconds``.
        outer_marks: keep the marks around a video's placeholder, as the processors of transformers
            5.12 and later do; each frame has marks of its own inside them.
    """
    check_transformers("model", model, LANGUAGE_MODELS)
    from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

    positions = checked_choice("positions", positions, ("dense", "compact"))
    decimals = checked_count("decimals", decimals, 0, 6)
    check_model(model)
    config, vision = model.config, model.config.vision_config
    begin, end = config.vision_start_token_id, config.vision_end_token_id
    layers = len(vision.deepstack_visual_indexes)
    pictures = qwen_images(model, images)
    marks = None if outer_marks else (begin, end)
    texts, videos = split_prompt(input_ids, videos, config.video_token_id, pictures, marks)
    if times is None:
        times = [tubelet_seconds(video, vision.temporal_patch_size) for video in videos]
    prompt, outputs, taps = Prompt(pictures), [], []
    for text, video, seconds in zip(texts, videos, times, strict=False):
        prompt.passage(text)
        shown = shown_cells(video, layout, place)
        check_width(shown.features, (1 + layers) * vision.out_hidden_size)
        output, deepstack = split_deepstack(shown.features, layers)
        outputs.append(output)
        taps.append(deepstack)
        cells = shown.cell.split(shown.frame.bincount(minlength=video.shape.T).tolist())
        for cell, second in zip(cells, seconds.tolist(), strict=True):
            span = qwen3_span(video, cell)
            # A sum of floats that should be 1.75 may be 1.7499...: it must not become 1.7. And 0
            # must not become -0.0.
            time = f"<{round(round(second, 6), decimals) + 0.0:.{decimals}f} seconds>"
            words = tokenizer.encode(time, add_special_tokens=False)
            if len(cell):
                prompt.text([*words, begin])
                prompt.span(span, config.video_token_id)
                prompt.text([end])
            elif positions == "dense":
                prompt.skip(len(words) + 2 + span.extent)
    prompt.passage(texts[-1])
    # One tensor for each video: transformers uses such, although its annotations differ.
    parts: dict[str, Any] = {
        "pooler_output": tuple(outputs),
        "deepstack_features": [list(layer) for layer in zip(*taps, strict=True)],
    }
    return prompt.inputs(model, BaseModelOutputWithDeepstackFeatures(**parts))


def qwen25_vl_inputs(
    model: Any,
    input_ids: Tensor,
    videos: VideoTokens | Sequence[VideoTokens],
    *,
    layout: Layout = "packed",
    place: Place = "first",
    images: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Makes the arguments of a ``Qwen2_5_VLForConditionalGeneration``'s call.

    The first coordinate of a token's position is its time on the video's clock.

    Args:
        model, input_ids, videos, layout, place, images: as for ``qwen3_vl_inputs``.

    Returns:
        The arguments that ``qwen3_vl_inputs`` returns. The call synchronises.

    Raises:
        ImportError: transformers is older than 5.18, whose models do not take encoded tokens.
        TypeError, ValueError: the prompt, videos, images or features do not fit the model, or the
            prompt has the placeholder of an image and there are no ``images``.
    """
    check_transformers("model", model, LANGUAGE_MODELS)
    from transformers.modeling_outputs import BaseModelOutputWithPooling  # only where it is

    check_model(model)
    config, vision = model.config, model.config.vision_config
    pictures = qwen_images(model, images)
    texts, videos = split_prompt(input_ids, videos, config.video_token_id, pictures)
    prompt, outputs = Prompt(pictures), []
    for text, video in zip(texts, videos, strict=False):
        prompt.passage(text)
        shown = shown_cells(video, layout, place)
        check_width(shown.features, vision.out_hidden_size)
        outputs.append(shown.features)
        span = qwen25_span(video, shown.frame, shown.cell, vision.tokens_per_second)
        prompt.span(span, config.video_token_id)
    prompt.passage(texts[-1])
    parts: dict[str, Any] = {"pooler_output": tuple(outputs)}  # one for each video
    return prompt.inputs(model, BaseModelOutputWithPooling(**parts))
