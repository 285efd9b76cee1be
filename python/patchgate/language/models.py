"""What ``prepare`` needs to know of each language model.

Letters: T frames (or tubelets), L ids of a prompt.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from patchgate._check import LANGUAGE_MODELS, check_transformers
from patchgate._check.text import a_or_an
from patchgate._tensors import doubles
from patchgate.encoders.gated import gated, pixel_spec
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gather import PixelSpec
from patchgate.language.clips import Clip
from patchgate.language.llava import llava_onevision_inputs, pooled_mask
from patchgate.language.messages import Shown
from patchgate.language.pictures import llava_pictures, qwen_pictures
from patchgate.language.prompt import Layout, check_model, shown_cells
from patchgate.language.qwen import qwen25_vl_inputs, timed_qwen3_inputs
from patchgate.tokens import VideoTokens


class ChatModel(ABC):
    """A language model and its processor."""

    name: ClassVar[str]  # of its class in transformers
    processor_name: ClassVar[str]
    tower_name: ClassVar[str]  # where ``model.model`` has its tower
    extra: ClassVar[int] = 0  # tokens of a video beside those of its cells
    only_parts: ClassVar[bool] = False  # its chat template takes no content that is a plain text

    def __init__(self, model: Any, processor: Any) -> None:
        """Checks that the processor is the model's.

        Raises:
            ImportError: transformers is too old.
            TypeError, ValueError: the processor is none of a whole model, or another model's.
        """
        check_transformers("model", model, LANGUAGE_MODELS)
        check_model(model)
        self.model, self.processor = model, processor
        self._check_processor()
        self.tower = self._gated()
        self.spec = self._spec()

    @property
    def feature_layer(self) -> int | None:
        """The hidden state that the model takes as its tower's features; None: the output."""
        return None

    @abstractmethod
    def images(self, images: Sequence[Shown]) -> Mapping[str, Any] | None:
        """Opens images and makes what the model's tower takes; None: there are none."""

    @abstractmethod
    def inputs(
        self, ids: Tensor, clips: Sequence[Clip], layout: Layout, images: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """Makes the arguments of the model's call for one prompt ``[L]``."""

    def shown(self, tokens: VideoTokens) -> Tensor:
        """Counts the tokens of each frame that a packed prompt has, ``[T]`` int64."""
        return shown_cells(tokens, "packed").frame.bincount(minlength=tokens.shape.T)

    def _check_processor(self) -> None:
        model, processor = type(self.model).__name__, type(self.processor).__name__
        parts = ("tokenizer", "image_processor", "video_processor", "apply_chat_template")
        missing = [part for part in parts if getattr(self.processor, part, None) is None]
        if missing:
            raise TypeError(
                f"processor: expected the {self.processor_name} of {a_or_an(model)}, as "
                f"AutoProcessor.from_pretrained makes it, got {a_or_an(processor)}, which has no "
                f"{missing[0]}"
            )
        for name in ("video_token_id", "image_token_id"):
            own, given = getattr(self.model.config, name), getattr(self.processor, name, None)
            if own != given:
                raise ValueError(
                    f"processor: this {processor} is another model's: its {name} is {given}, that "
                    f"of {a_or_an(model)} is {own}; load both from one folder"
                )

    def _gated(self) -> GatedTower:
        tower, layer = getattr(self.model.model, self.tower_name), self.feature_layer
        if not isinstance(tower, GatedTower):
            return gated(tower, self.processor, feature_layer=layer)  # type: ignore[return-value]
        wanted = None if layer is None else layer % (tower._tower.depth + 1)
        if tower._tower.ends_after != wanted:
            raise ValueError(
                f"model: its tower is gated without the feature_layer that the model takes; gate "
                f"it with gated(.., feature_layer={layer})"
            )
        return tower

    def _spec(self) -> PixelSpec:
        """Returns what the processor does to a frame, and compares it with what the tower knows."""
        spec, own = pixel_spec(self.tower._tower, self.processor, None, None), self.tower.pixel_spec
        for name in ("mean", "std"):
            one, other = (doubles(getattr(each, name)) for each in (spec, own))
            if not torch.allclose(one, other, rtol=0, atol=1e-6):
                raise ValueError(
                    f"processor: it normalises with {name}={getattr(spec, name)}, and the model's "
                    f"tower was gated for {name}={getattr(own, name)}"
                )
        return spec


class Qwen25(ChatModel):
    """Qwen2.5-VL."""

    name = "Qwen2_5_VLForConditionalGeneration"
    processor_name = "Qwen2_5_VLProcessor"
    tower_name = "visual"

    def images(self, images: Sequence[Shown]) -> Mapping[str, Any] | None:
        return qwen_pictures(self.processor.image_processor, images)

    def inputs(
        self, ids: Tensor, clips: Sequence[Clip], layout: Layout, images: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        tokens = [clip.tokens for clip in clips]
        return qwen25_vl_inputs(self.model, ids, tokens, layout=layout, images=images)


class Qwen3(Qwen25):
    """Qwen3-VL, whose prompts say the time of each frame."""

    name = "Qwen3VLForConditionalGeneration"
    processor_name = "Qwen3VLProcessor"

    def inputs(
        self, ids: Tensor, clips: Sequence[Clip], layout: Layout, images: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        tokens, times = [clip.tokens for clip in clips], [clip.seconds for clip in clips]
        options: dict[str, Any] = {"layout": layout, "images": images}
        options["outer_marks"] = self._keeps_marks()
        tokenizer = self.processor.tokenizer
        return timed_qwen3_inputs(self.model, ids, tokens, times, tokenizer, **options)

    def _keeps_marks(self) -> bool:
        """Whether this version of the processor keeps the marks around a video's placeholder.

        A chat template writes them; inside, each frame has marks of its own.
        """
        begin, end = self.processor.vision_start_token, self.processor.vision_end_token
        text = [begin + self.processor.video_token + end]
        replaced, _ = self.processor.get_text_with_replacements(text, [], ["frames"])
        return replaced == [f"{begin}frames{end}"]


class LlavaOnevision(ChatModel):
    """LLaVA-OneVision, which pools the cells of a frame."""

    name = "LlavaOnevisionForConditionalGeneration"
    processor_name = "LlavaOnevisionProcessor"
    tower_name = "vision_tower"
    extra = 1  # the mark at the end of a video
    only_parts = True

    @property
    def feature_layer(self) -> int:
        layer = self.model.config.vision_feature_layer
        if not isinstance(layer, int):
            raise ValueError(f"model: expected one vision_feature_layer, got {layer}")
        return layer

    def images(self, images: Sequence[Shown]) -> Mapping[str, Any] | None:
        return llava_pictures(self.processor.image_processor, images)

    def inputs(
        self, ids: Tensor, clips: Sequence[Clip], layout: Layout, images: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        tokens = [clip.tokens for clip in clips]
        return llava_onevision_inputs(self.model, ids, tokens, layout=layout, images=images)

    def shown(self, tokens: VideoTokens) -> Tensor:
        return pooled_mask(self.model.model, tokens, "packed").sum(1)


_MODELS: tuple[type[ChatModel], ...] = (Qwen3, Qwen25, LlavaOnevision)


def chat_model(model: Any, processor: Any) -> ChatModel:
    """Returns what is known of a model.

    Raises:
        TypeError: it is none of the models that ``prepare`` knows.
    """
    classes = [base.__name__ for base in type(model).__mro__]
    for known in _MODELS:
        if known.name in classes:
            return known(model, processor)
    inner = (
        " (of a PeftModel, pass model.get_base_model())" if hasattr(model, "get_base_model") else ""
    )
    raise TypeError(
        f"model: expected one of {', '.join(known.name for known in _MODELS)}, got "
        f"{a_or_an(type(model).__name__)}{inner}"
    )
