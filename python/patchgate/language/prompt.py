"""Builds a prompt: ids, and the position of each.

Letters: L ids of a prompt, T frames (or tubelets), h w cells, N = h * w, K cells of a video in the
prompt, D features.
"""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from patchgate._check import checked_choice
from patchgate._check.text import a_or_an
from patchgate._tensors import arange, as_given, whole
from patchgate.gate import MERGED, RETURNED
from patchgate.language.images import Images
from patchgate.language.positions import Place, PromptSpan, token_places
from patchgate.tokens import VideoTokens

Layout = Literal["packed", "dense"]
Positions = Literal["dense", "compact"]


class Shown(NamedTuple):
    """The cells of a video that a prompt shows, frame after frame."""

    frame: Tensor  # [K] int64
    cell: Tensor  # [K, 2] int64
    features: Tensor  # [K, D]


class Prompt:
    """A prompt of text, images and cells of videos, one after the other."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._left = list(images.spans)  # those that are still to come
        self._ids: list[Tensor] = []
        self._places: list[Tensor] = []  # [3, L of this part] each
        self._next = 0

    def text(self, ids: Tensor | Sequence[int]) -> None:
        """Adds ids, each of which takes one position."""
        ids = as_given(ids).to("cpu", torch.int64)
        self._ids.append(ids)
        self._places.append((arange(len(ids)) + self._next).expand(3, -1))
        self.skip(len(ids))

    def passage(self, ids: Tensor) -> None:
        """Adds text between videos; each placeholder of an image becomes all of its tokens."""
        begin, pad = 0, self._images.pad
        places = [] if pad is None else ids.eq(pad).nonzero().flatten().tolist()
        for i in places:
            self.text(ids[begin:i])
            self.span(self._left.pop(0), int(ids[i]))
            begin = i + 1
        self.text(ids[begin:])

    def span(self, span: PromptSpan, pad: int) -> None:
        """Adds cells of a video or an image, with one ``pad`` for each."""
        self._ids.append(whole([pad]).expand(span.place.shape[1]))
        self._places.append(span.place.cpu() + self._next)
        self.skip(span.extent)

    def skip(self, positions: int) -> None:
        """Leaves out positions."""
        self._next += positions

    def inputs(self, model: Any, encoded: Any, axes: int = 3) -> dict[str, Any]:
        """Makes the arguments of a model's call, on the model's device.

        Args:
            model: the language model.
            encoded: the tower's output, for ``mm_encoder_outputs``.
            axes: the number of coordinates of a position: 3 (time, down, across) or 1.
        """
        outputs = {"video": encoded}
        if self._images.encoded is not None:
            outputs["image"] = self._images.encoded
        ids, places = torch.cat(self._ids)[None], torch.cat(self._places, 1)  # [1, L], [3, L]
        return {
            "input_ids": ids.to(model.device),
            "attention_mask": torch.ones_like(ids).to(model.device),
            "position_ids": (places[:, None] if axes == 3 else places[:1]).to(model.device),
            "mm_encoder_outputs": outputs,
        }


def check_model(model: Any) -> None:
    """Raises a ``ValueError`` if a model does not take the tower's output."""
    if "mm_encoder_outputs" not in inspect.signature(model.forward).parameters:
        raise ValueError(
            f"model: in this version of transformers {a_or_an(type(model).__name__)} takes "
            "no mm_encoder_outputs: it would ignore the video with no error; update it"
        )


def split_prompt(
    input_ids: Tensor,
    videos: VideoTokens | Iterable[VideoTokens],
    pad: int,
    images: Images,
    marks: tuple[int, int] | None = None,
) -> tuple[list[Tensor], list[VideoTokens]]:
    """Splits a prompt in the texts before, between and after the videos.

    Args:
        input_ids: ``[L]`` or ``[1, L]``.
        videos: one video, or several.
        pad: the placeholder of a video.
        images: the images of the prompt. In the texts, each keeps one placeholder.
        marks: two ids that may stand around a placeholder; they are removed with it.

    Returns:
        The texts, one more than there are videos, and the videos.

    Raises:
        TypeError, ValueError: the number of placeholders is not that of videos or images, or a
            video has tokens of pixels.
    """
    videos = [videos] if isinstance(videos, VideoTokens) else list(videos)
    for video in videos:
        if not isinstance(video, VideoTokens):
            raise TypeError(f"videos: expected VideoTokens, got {type(video).__name__}")
        if video.layout is not None:
            raise ValueError(
                "videos: these tokens hold pixels; tokenize the video with the model's own tower"
            )
        if not video.shape.T:
            raise ValueError("videos: expected at least one frame in each, got none")
    if not isinstance(input_ids, Tensor) or input_ids.is_floating_point():
        raise TypeError("input_ids: expected a Tensor of integers, the tokenizer's")
    ids = input_ids[0] if input_ids.dim() == 2 and len(input_ids) == 1 else input_ids
    if ids.dim() != 1:
        raise ValueError(f"input_ids: expected [L] or [1, L], got {list(input_ids.shape)}")
    ids = images.one_each(ids)
    at = (ids == pad).nonzero().flatten().tolist()
    if len(at) != len(videos):
        raise ValueError(
            f"input_ids: expected one placeholder ({pad}) for each of the {len(videos)} videos, "
            f"got {len(at)}"
        )
    texts, begin = [], 0
    for i in at:
        marked = marks is not None and tuple(ids[max(0, i - 1) : i + 2 : 2].tolist()) == marks
        texts.append(ids[begin : i - marked])
        begin = i + 1 + marked
    return [*texts, ids[begin:]], videos


def shown_cells(video: VideoTokens, layout: Layout, place: Place = "first") -> Shown:
    """Chooses the cells that a layout shows.

    ``"dense"`` shows all cells, as ``VideoTokens.dense`` does: a moved cell is the mean of the
    tokens under it. ``"packed"`` shows kept cells and all cells of the first frame: if the video is
    a part of a longer one, these may refer to tokens from before, and show them whole. If tokens
    are merged, or cells of the first frame share one, ``"packed"`` shows each token once, at its
    ``place`` (see ``token_places``), but none that no cell has as its source.
    """
    layout = checked_choice("layout", layout, ("packed", "dense"))
    place = checked_choice("place", place, ("first", "mean"))
    if place == "mean" and layout == "packed":
        frame, cell = token_places(video, place)
        _, h, w = video.shape
        order = ((frame * h + cell[:, 0]) * w + cell[:, 1]).argsort(stable=True)
        order = order[video.size[order] > 0]
        return Shown(frame[order], cell[order], video.features[order.to(video.features.device)])
    mask = shown_mask(video) if layout == "packed" else torch.ones_like(video.source).bool()
    frame, row, column = mask.nonzero().unbind(1)
    table, rows = video.rows() if layout == "dense" else (video.features, video.source)
    return Shown(frame, torch.stack([row, column], 1), table[rows[mask].to(table.device)])


def shown_mask(video: VideoTokens) -> Tensor:
    """Returns the cells of the packed layout, ``[T, h, w]`` bool."""
    first = video.source[0].flatten()  # [N]
    shared = len(first.unique()) < len(first)  # also where a slice has no cell that says MERGED
    others = (video.kind == MERGED) | (video.kind == RETURNED)
    if not shared and not bool(others.any()):
        return first_and(kept_cells(video))
    # Merged cells share tokens: showing all cells of the first frame would exceed the budget. Cells
    # of a slice may return to tokens that its first frame does not show.
    (frame, cell), some = token_places(video), video.size > 0
    mask = torch.zeros_like(video.source, dtype=torch.bool)
    mask[frame[some], cell[some, 0], cell[some, 1]] = True
    return mask


def kept_cells(video: VideoTokens) -> Tensor:
    """Returns the cells that have a token of their own, ``[T, h, w]`` bool."""
    mask = torch.zeros_like(video.source, dtype=torch.bool)
    own = video.frame >= 0
    mask[video.frame[own], video.cell[own, 0], video.cell[own, 1]] = True
    return mask


def first_and(mask: Tensor) -> Tensor:
    """Adds all cells of the first frame to a mask of cells ``[T, h, w]``."""
    return torch.cat([torch.ones_like(mask[:1]), mask[1:]])


def check_width(features: Tensor, width: int) -> None:
    """Raises a ``ValueError`` unless features have this width."""
    if features.shape[-1] != width:
        raise ValueError(
            f"videos: the model's tower has features of {width} numbers, got {features.shape[-1]}"
        )
