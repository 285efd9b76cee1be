"""Chat messages with videos in, the arguments of ``model.generate`` out."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from patchgate._check import checked_choice, checked_number, checked_switch
from patchgate._signature import spelled
from patchgate.decode import open_video
from patchgate.gate import GateSettings
from patchgate.gate.settings import GEOMETRY
from patchgate.language.batch import joined
from patchgate.language.budget import checked_budgets, within_budget, within_rate
from patchgate.language.clips import Clip, Reader, Sampling
from patchgate.language.messages import Conversation, Shown, conversations_of, is_setting
from patchgate.language.models import ChatModel, chat_model
from patchgate.language.prompt import Layout
from patchgate.pipeline.options import TokenizeKwargs, parted


@spelled(GateSettings, open_video, leave_out=(*GEOMETRY, "device", "start", "end"))
@torch.no_grad()
def prepare(
    model: Any,
    processor: Any,
    messages: Sequence[Any],
    *,
    fps: float | None = None,
    budget: int | None = None,
    tokens_per_second: int | None = None,
    layout: Layout = "packed",
    add_generation_prompt: bool = True,
    template: Mapping[str, Any] | None = None,
    **options: Unpack[TokenizeKwargs],
) -> Any:
    """Makes the arguments of ``model.generate`` from chat messages that show videos.

    It takes the place of ``processor.apply_chat_template(messages, tokenize=True, ..)``: frames
    come from the file, the gated tower computes what changed in them, and the prompt has the tokens
    of that. Everything else is as the model's own processor makes it: the chat template, the size
    of frames, their times in the prompt, images, positions.

    Args:
        model: ``Qwen3VLForConditionalGeneration``, ``Qwen2_5_VLForConditionalGeneration`` or
            ``LlavaOnevisionForConditionalGeneration``. If its tower is gated already
            (``model.model.visual = gated(model.model.visual, processor, ..)``; LLaVA-OneVision's is
            ``model.model.vision_tower``), that is used with its settings, or else one is made with
            the defaults of ``gated``. The model is not changed.
        processor: the model's own, as ``AutoProcessor.from_pretrained`` makes it.
        messages: a conversation, that is, a list of messages with a role and a content; or a list
            of conversations, which become a batch. A content is a text or a list of parts:
            ``{"type": "text", "text": ..}``, ``{"type": "image", "image": ..}`` and
            ``{"type": "video", "video": ..}``. Every conversation shows at least one video.

            A video is what ``tokenize`` takes: a path, an address, bytes, or frames that are in
            memory; or a list of names of pictures. Beside it a part may have ``fps``,
            ``num_frames`` (or ``nframes``), ``min_frames``, ``max_frames``, ``video_start`` and
            ``video_end`` in seconds, and the size of frames: ``min_pixels`` and ``max_pixels`` of a
            frame, ``total_pixels`` of all tubelets, or ``resized_height`` and ``resized_width``. Of
            frames in memory, ``fps`` is the rate at which they come. An image is a path, an address
            or a picture, and may have the settings of size, too.
        fps: frames a second to look at, of files whose part says neither ``fps`` nor
            ``num_frames``. None: those that the processor takes by itself (``do_sample_frames``,
            ``fps``, ``min_frames``, ``max_frames``), or every frame if it does not sample. The
            processor's ``min_frames`` and ``max_frames`` do not hold for a rate that you give.
        budget: the most tokens of all videos of one conversation; ``merge`` joins those that are
            most alike. Several videos share it in proportion to their tokens. Images, and the text
            of times, are not counted.
        tokens_per_second: the most tokens of each second of each video, instead. (The mark that
            ends a video of LLaVA-OneVision comes on top.)
        layout: ``"packed"``: only tokens that are new, and all of the first frame. ``"dense"``:
            every cell of every frame, as in the model's own prompts.
        add_generation_prompt: end the prompt with the beginning of an answer.
        template: further variables of the chat template, and ``chat_template`` or ``tools``.
        options: rules of the gate, such as ``threshold``, and options of ``open_video``, as in
            ``tokenize``.

    Returns:
        A ``BatchFeature`` of transformers, a dictionary for ``model.generate(**inputs)`` or
        ``model(**inputs)``: ``input_ids`` and ``attention_mask`` ``[B, L]`` int64, ``position_ids``
        ``[3, B, L]`` int64 (LLaVA-OneVision: ``[B, L]``), and ``mm_encoder_outputs``, on the
        model's device. Shorter prompts of a batch are filled up on their left. Do not pass
        ``pixel_values`` beside it. The same video with the same settings is encoded once. The call
        synchronises, and no gradients flow through it.

    Raises:
        FileNotFoundError: there is no such video or picture.
        ImportError: transformers is older than 5.18, whose models do not take encoded tokens.
        TypeError, ValueError: the model is not supported; the processor is another model's or has
            no chat template; a message has no role, an unknown type or setting, or no video; a
            budget cannot be met; there is no such option. Messages of errors name the part.

    Source: docs/language.md; docs/merge.md has the rules of merging and their papers.
    """
    layout = checked_choice("layout", layout, ("packed", "dense"))
    ending = checked_switch("add_generation_prompt", add_generation_prompt)
    budget, tokens_per_second = checked_budgets(budget, tokens_per_second, layout)
    if fps is not None:
        fps = checked_number("fps", fps, 1e-9, 1e9, "frames a second")
    _check_names(options)
    rules, open_options = parted("prepare", options, None)
    conversations = conversations_of(messages)
    chat = chat_model(model, processor)
    texts = [_text(chat, each, ending, template or {}) for each in conversations]
    sampling = Sampling.of(processor.video_processor)
    reader = Reader(chat.tower, chat.spec, sampling, fps, rules, open_options)
    known: dict[Any, Clip] = {}
    prompts = []
    for text, conversation in zip(texts, conversations, strict=True):
        clips = [_clip(reader, shown, known) for shown in conversation.videos]
        if tokens_per_second is not None:
            clips = within_rate(chat, clips, tokens_per_second)
        if budget is not None:
            clips = within_budget(chat, clips, budget)
        images = chat.images(conversation.images)
        prompts.append(chat.inputs(_ids(chat, text), clips, layout, images))
    return _feature(joined(prompts, _pad(chat)))


def _check_names(options: Mapping[str, Any]) -> None:
    """Tells where an option belongs that people bring from elsewhere."""
    for name in options:
        if is_setting(name):
            raise TypeError(
                f"prepare: {name} is a setting of one video: give it in the message, as "
                f"{{'type': 'video', 'video': .., '{name}': {options[name]!r}}}"
            )
        if name in ("tokenize", "return_dict", "return_tensors", "padding", "padding_side"):
            raise TypeError(
                f"prepare: leave {name} out: it always returns a dictionary of tensors, padded on "
                "the left"
            )


def _text(
    chat: ChatModel, conversation: Conversation, ending: bool, template: Mapping[str, Any]
) -> str:
    """Renders a conversation, and checks that the template shows all that it has."""
    processor, where = chat.processor, conversation.where
    if not conversation.videos:
        raise ValueError(
            f"{where}: expected at least one video, got none; without a video, call "
            "processor.apply_chat_template"
        )
    for place, text in conversation.texts:
        for token in (processor.video_token, processor.image_token):
            if token in text:
                raise ValueError(
                    f"{place}: this text has the placeholder {token}; give the video or image as "
                    "a part of the message, and the template writes the placeholder"
                )
    if not getattr(processor, "chat_template", None) and "chat_template" not in template:
        raise ValueError(
            "processor: it has no chat template; load it with its folder's chat_template.jinja, "
            "set processor.chat_template, or pass template={'chat_template': ..}"
        )
    messages = conversation.in_parts() if chat.only_parts else conversation.messages
    text = processor.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=ending, **template
    )
    shown = {processor.video_token: conversation.videos, processor.image_token: conversation.images}
    for token, each in shown.items():
        if text.count(token) != len(each):
            raise ValueError(
                f"{where}: the chat template wrote {text.count(token)} placeholders {token} for "
                f"{len(each)}; it may show them only in messages of some roles"
            )
    return str(text)


def _ids(chat: ChatModel, text: str) -> Tensor:
    """Returns the ids of a prompt, ``[L]``; special tokens are added as the processor adds them."""
    tokenizer = chat.processor.tokenizer
    begin = getattr(tokenizer, "bos_token", None)
    add = begin is None or not text.startswith(begin)
    ids = tokenizer(text, add_special_tokens=add)["input_ids"]
    size = chat.model.get_input_embeddings().weight.shape[0]
    if max(ids) >= size:
        raise ValueError(
            f"processor: its tokenizer gave the id {max(ids)}, and the model has {size}; they are "
            "not of one model"
        )
    return torch.tensor(ids, dtype=torch.int64, device="cpu")


def _clip(reader: Reader, shown: Shown, known: dict[Any, Clip]) -> Clip:
    """Reads a video, or takes it from those that were read for this call."""
    source = shown.source
    named = isinstance(source, str | bytes | os.PathLike)
    key = (os.fspath(source) if named else id(source), *sorted(shown.settings.items()))
    if key not in known:
        try:
            known[key] = reader.clip(shown)
        except Exception as error:
            error.add_note(f"The video is {shown.where}.")
            raise
    return known[key]


def _pad(chat: ChatModel) -> int:
    """Returns the id that fills up prompts; nothing attends to it."""
    tokenizer = chat.processor.tokenizer
    for pad in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if pad is not None:
            return int(pad)
    return 0


def _feature(inputs: dict[str, Any]) -> Any:
    from transformers import BatchFeature  # only where there is a model of it

    return BatchFeature(data=inputs)
