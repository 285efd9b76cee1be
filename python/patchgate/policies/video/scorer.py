"""Scores frames for a query with a model that has one encoder for pictures and one for text.

Letters: N frames, T frames of a batch, H W pixels, D features, n ids of a query.
"""

from dataclasses import replace
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn.functional import normalize

from patchgate._check import checked_count
from patchgate._signature import spelled
from patchgate.colour import yuv_to_rgb
from patchgate.decode import FrameBatch, open_video
from patchgate.decode.opening import ReadKwargs
from patchgate.decode.source.source import VideoSource
from patchgate.grid import to_grid
from patchgate.policies.frames import Frames
from patchgate.policies.video.container import container_frames, of_access, positions_of
from patchgate.policies.video.wanted import WantedFrames


class DualEncoder:
    """Computes ``Frames.feat`` and ``Frames.rel`` with CLIP, SigLIP, SigLIP2 or a similar model.

    ``feat`` does not depend on the query: one pass over the frames serves any number of queries.

    Args:
        model: a model of transformers with ``get_image_features`` and ``get_text_features``; it
            stays on its device.
        image_processor: is called as ``(images=[H, W, 3 arrays], return_tensors="pt")``.
        tokenizer: is called as ``(texts, return_tensors="pt", **text_options)``. None: queries are
            given as ids.
        batch: the number of frames that the model gets at a time.
        text_options: options of the tokenizer; SigLIP was trained with ``padding="max_length"``.

    Raises:
        TypeError: the model lacks one of the two methods.
    """

    def __init__(
        self,
        model: Any,
        image_processor: Any,
        tokenizer: Any = None,
        *,
        batch: int = 16,
        **text_options: Any,
    ) -> None:
        for name in ("get_image_features", "get_text_features"):
            if not hasattr(model, name):
                raise TypeError(f"model: expected a dual encoder, {type(model).__name__} has no "
                                f"{name}")  # fmt: skip
        self._model, self._images, self._tokens = model, image_processor, tokenizer
        self._batch, self._text_options = checked_count("batch", batch, 1), text_options

    @spelled(open_video, leave_out=("device", "start", "end", "fps", "fallback"))
    def with_features(
        self, video: VideoSource, frames: Frames, **open_options: Unpack[ReadKwargs]
    ) -> Frames:
        """Returns the frames with ``feat`` ``[N, D]``, in the model's dtype, on the CPU.

        The vectors have length 1. The call waits for the model's device after each batch.

        Args:
            video: the video that the frames are of; they are found by their times.
            frames: the frames to add ``feat`` to.
            open_options: of ``open_video``; ``chunk`` is ``batch`` if it is not given.

        Raises:
            ValueError: the video has no frame of such a time, or a frame cannot be decoded.
        """
        known = container_frames(video, **of_access(open_options))
        numbers = known.number[positions_of(known, frames.pts)]
        source = WantedFrames(video, known, numbers, **{"chunk": self._batch, **open_options})
        parts = [self._of_pictures(rgb_of(batch)) for batch in source]
        if source.missing:
            raise ValueError(
                f"{len(source.missing)} frame(s) did not come out of the decoder, because frames "
                f"that they depend on are damaged: {source.missing[:12]}; leave them out"
            )
        none = torch.empty((len(frames), 1), dtype=torch.float32, device="cpu")
        return replace(frames, feat=torch.cat(parts) if parts else none)

    def with_scores(self, frames: Frames, query: str | Tensor) -> Frames:
        """Returns the frames with ``rel`` ``[N]`` float64: the cosines of ``feat`` with a query.

        Args:
            frames: frames with ``feat``.
            query: text, or its ids ``[n]`` or ``[1, n]``.

        Raises:
            ValueError: the frames have no ``feat``, or the query is text and there is no tokenizer.
        """
        text = self._of_text(query)  # [D]
        feat = normalize(frames.need("feat").double(), dim=1)
        return replace(frames, rel=(feat @ text.double()).clamp(-1, 1))

    @torch.no_grad()
    def _of_pictures(self, rgb: Tensor) -> Tensor:
        """Returns the vectors ``[T, D]`` of frames ``[T, 3, H, W]`` uint8, on the CPU."""
        pictures = [picture.permute(1, 2, 0).numpy() for picture in rgb]
        inputs = self._images(images=pictures, return_tensors="pt")
        inputs = {name: value.to(self._model.device) for name, value in inputs.items()}
        return normalize(_vectors(self._model.get_image_features(**inputs)), dim=1).cpu()

    @torch.no_grad()
    def _of_text(self, query: str | Tensor) -> Tensor:
        if isinstance(query, Tensor):
            inputs: dict[str, Any] = {"input_ids": query.reshape(1, -1)}
        elif self._tokens is None:
            raise ValueError("query: text needs a tokenizer; give DualEncoder one, or ids")
        else:
            inputs = dict(self._tokens([query], return_tensors="pt", **self._text_options))
        inputs = {name: value.to(self._model.device) for name, value in inputs.items()}
        return normalize(_vectors(self._model.get_text_features(**inputs)), dim=1)[0].cpu()


def rgb_of(batch: FrameBatch) -> Tensor:
    """Converts whole frames to RGB, ``[T, 3, H, W]`` uint8, through the gate's frame grid.

    This is several times faster than ``gather.rgb_frames``. Its chroma is shifted by up to a
    quarter of a pixel.
    """
    planes = to_grid(batch, (batch.height, batch.width))
    return yuv_to_rgb(planes, batch.colour.matrix)


def _vectors(output: Any) -> Tensor:
    """Returns the vectors of a model's output: itself or, in newer transformers, a part of it."""
    vectors: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return vectors
