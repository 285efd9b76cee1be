"""Qwen's vision-language models. Letters: L ids of a prompt, L' of the one with videos."""

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
        model: its configuration and device are read; of its modules, only images go through the
            vision tower (a gated one's own, dense: an image has no frame before it).
        input_ids: ``[L]`` or ``[1, L]`` integers, one prompt: the chat template through the
            tokenizer, with the one placeholder of each video (alone, or between those marks).
        videos: in the order of their placeholders, with the features of ``model``'s gated tower.
        tokenizer: with ``encode(text, add_special_tokens=False)``, for the times.
        layout: ``"packed"``: kept cells only, and all of the first frame; of merged tokens, each
            once. ``"dense"``: every cell of every frame, as the model itself has it.
        positions: ``"dense"``: each token stands where it would in the dense layout. ``"compact"``:
            frames without tokens take no room.
        place: of a token in the packed layout: ``"first"`` of the cells that it stands for, or
            their ``"mean"``.
        decimals: of a second. The model was trained with 1, which tells apart ten tubelets a
            second.
        images: in the prompt, as the model's image processor returns them (``pixel_values`` and
            ``image_grid_thw``), in the order of their placeholders: one for each image, or one for
            each of its tokens, as the model's own processor writes them. Their features are handed
            over with those of the videos; the model takes no ``pixel_values`` beside these.

    Returns:
        ``input_ids`` and ``attention_mask`` ``[1, L']``, ``position_ids`` ``[3, 1, L']``, and
        ``mm_encoder_outputs``. Videos and images stand where the model's ``get_rope_index`` places
        them.

    Raises:
        ImportError: a model of a transformers before 5.18: it takes no ready tokens.
        TypeError, ValueError: a prompt, videos, images or features that do not fit the model; the
            placeholder of an image without ``images``.
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
    texts, videos = split_prompt(input_ids, videos, config.video_token_id, pictures, (begin, end))
    prompt, outputs, taps = Prompt(pictures), [], []
    for text, video in zip(texts, videos, strict=False):
        prompt.passage(text)
        shown = shown_cells(video, layout, place)
        check_width(shown.features, (1 + layers) * vision.out_hidden_size)
        output, deepstack = split_deepstack(shown.features, layers)
        outputs.append(output)
        taps.append(deepstack)
        cells = shown.cell.split(shown.frame.bincount(minlength=video.shape.T).tolist())
        seconds = tubelet_seconds(video, vision.temporal_patch_size).tolist()
        for cell, second in zip(cells, seconds, strict=True):
            run = qwen3_span(video, cell)
            # A sum of floats that should be 1.75 is 1.7499..: not to be said as 1.7. Nor 0 as -0.0.
            said = f"<{round(round(second, 6), decimals) + 0.0:.{decimals}f} seconds>"
            words = tokenizer.encode(said, add_special_tokens=False)
            if len(cell):
                prompt.text([*words, begin])
                prompt.run(run, config.video_token_id)
                prompt.text([end])
            elif positions == "dense":
                prompt.skip(len(words) + 2 + run.extent)
    prompt.passage(texts[-1])
    # One tensor for each video, as transformers has it whatever its annotations say.
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

    Every token stands at its time on the video's clock.

    Args:
        model, input_ids, videos, layout, place, images: as for ``qwen3_vl_inputs``.

    Returns:
        As ``qwen3_vl_inputs``.

    Raises:
        ImportError: a model of a transformers before 5.18: it takes no ready tokens.
        TypeError, ValueError: a prompt, videos, images or features that do not fit the model; the
            placeholder of an image without ``images``.
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
        run = qwen25_span(video, shown.frame, shown.cell, vision.tokens_per_second)
        prompt.run(run, config.video_token_id)
    prompt.passage(texts[-1])
    parts: dict[str, Any] = {"pooler_output": tuple(outputs)}  # one for each video
    return prompt.inputs(model, BaseModelOutputWithPooling(**parts))
