"""The positions of packed tokens in a prompt: m-RoPE of Qwen2.5-VL and Qwen3-VL, and their times.

Letters: T tubelets, h w cells, N = h * w, K tokens (or cells in a prompt), F frames that emitted a
token, m merge side, D features.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from patchgate._check import checked_choice
from patchgate._tensors import arange
from patchgate.tokens import VideoTokens

Place = Literal["first", "mean"]

# A time that should be whole must not fall below it by the rounding of a stamp.
_ROUNDING = 1e-4


class PromptSpan(NamedTuple):
    """The positions of some cells of a video in a prompt, of one frame or of many."""

    place: Tensor  # [3, K] int64: positions in time, down and across, counted from the span's begin
    extent: int  # the number of positions that the span takes


def qwen25_span(
    tokens: VideoTokens, frame: Tensor, cell: Tensor, tokens_per_second: float
) -> PromptSpan:
    """Makes Qwen2.5-VL's m-RoPE positions: time follows the clock, and all frames form one span.

    Args:
        tokens: a video's tokens. Their ``pts_seconds`` are the frames' times, which need not be
            evenly spaced.
        frame: ``[K]`` int64 in ``[0, T)``.
        cell: ``[K, 2]`` int64.
        tokens_per_second: the positions of a second (``config.vision_config.tokens_per_second``).

    Returns:
        For evenly spaced frames, the numbers of transformers' ``get_rope_index`` with their
        distance as ``second_per_grid_ts`` (5.17 rounds it down to whole seconds).
    """
    seconds = tokens.pts_seconds - tokens.pts_seconds[:1]  # [T]
    time = (seconds * tokens_per_second + _ROUNDING).floor().long().to(frame.device)
    return PromptSpan(torch.stack([time[frame], *cell.unbind(1)]), max(tokens.shape[1:]))


def qwen3_span(tokens: VideoTokens, cell: Tensor) -> PromptSpan:
    """Makes Qwen3-VL's m-RoPE positions of one frame. The prompt has the frame's time as text.

    Args:
        tokens: a video's tokens.
        cell: ``[K, 2]`` int64, the cells of the frame.
    """
    return PromptSpan(
        torch.stack([torch.zeros_like(cell[:, 0]), *cell.unbind(1)]), max(tokens.shape[1:])
    )


def tubelet_seconds(tokens: VideoTokens, frames: int) -> Tensor:
    """Returns the times in Qwen3-VL's prompt: the middle of each tubelet's first and last frame.

    A tubelet lasts until the next one begins. Its duration does not say so if not every frame was
    looked at (``fps=``): the last one, which nothing follows, is as much longer than its duration
    as the one before it.

    Args:
        tokens: a video's tokens.
        frames: the number of frames of a tubelet, which are assumed to be evenly spaced within it.

    Returns:
        ``[T]`` float64, seconds.
    """
    lasts = tokens.duration_seconds.clone()  # [T]
    lasts[:-1] = tokens.pts_seconds.diff()
    if len(lasts) > 1 and tokens.duration_seconds[-2] > 0:
        lasts[-1] *= lasts[-2] / tokens.duration_seconds[-2]
    return tokens.pts_seconds + lasts * ((frames - 1) / (2 * frames))


def token_places(tokens: VideoTokens, place: Place = "first") -> tuple[Tensor, Tensor]:
    """Chooses one of the cells that each token represents as its place.

    Args:
        tokens: a video's tokens.
        place: ``"first"`` takes the first frame that shows the token, and in it the token's own
            cell or, if the token is from before, the first cell in reading order. ``"mean"`` takes
            the mean of all cells that show it, each coordinate rounded, halves to even.

    Returns:
        The frame ``[K]`` int64 in ``[0, T)`` and the cell ``[K, 2]`` int64; both are 0 for a token
        that no cell shows.
    """
    place = checked_choice("place", place, ("first", "mean"))
    k, (t, h, w), source = len(tokens), tokens.shape, tokens.source.flatten()
    if place == "mean":
        every = torch.cartesian_prod(*(arange(n) for n in (t, h, w))).double()  # [T * N, 3]
        sums = every.new_zeros(k, 3).index_add_(0, source, every.view(-1, 3))
        mean = (sums / tokens.size[:, None].clamp(min=1)).round().long()
        return mean[:, 0], mean[:, 1:]
    first = source.new_full((k,), len(source))
    first.scatter_reduce_(0, source, arange(len(source)), "amin")
    first %= max(1, len(source))
    frame, cell = first // (h * w), torch.stack([first // w % h, first % w], 1)
    own = tokens.frame >= 0
    return torch.where(own, tokens.frame, frame), torch.where(own[:, None], tokens.cell, cell)


def token_seconds(tokens: VideoTokens) -> Tensor:
    """Returns when each token is shown, ``[K, 3]`` float64, in seconds of ``pts_seconds``.

    The three numbers are the beginning of the first frame that shows the token, the mean over its
    cells, and the end of the last frame that shows it. For a token that no cell shows, they are
    infinity, 0 and minus infinity.
    """
    k, (_, h, w), source = len(tokens), tokens.shape, tokens.source.flatten()
    begin, end = tokens.pts_seconds, tokens.shown_until()  # [T] each
    each = begin.repeat_interleave(h * w)
    first = each.new_full((k,), torch.inf).scatter_reduce_(0, source, each, "amin")
    total = each.new_zeros(k).index_add_(0, source, each)
    last = each.new_full((k,), -torch.inf)
    last.scatter_reduce_(0, source, end.repeat_interleave(h * w), "amax")
    return torch.stack([first, total / tokens.size.clamp(min=1), last], 1)


def vision_position_ids(cell: Tensor, merge: int) -> Tensor:
    """Makes the ``position_ids`` of a Qwen vision tower's call for the patches of kept cells.

    Args:
        cell: ``[K, 2]`` int64.
        merge: m, the number of patches along the side of a cell.

    Returns:
        ``[K * m * m, 2]`` int64, row and column, cell after cell.
    """
    each = arange(merge, device=cell.device)
    within = torch.cartesian_prod(each, each).view(-1, 2)  # [m * m, 2]
    return (cell[:, None] * merge + within).flatten(0, 1)


def vision_cu_seqlens(cu_seqlens: Tensor, merge: int) -> Tensor:
    """Makes the ``cu_seqlens`` of a Qwen vision tower's call: where each frame's patches begin.

    Args:
        cu_seqlens: ``[T + 1]`` integers, in cells, as in ``VideoTokens``.
        merge: m, the number of patches along the side of a cell.

    Returns:
        ``[F + 1]`` int32, in patches. Frames that emitted nothing are left out, because attention
        without keys is an error in transformers.
    """
    ends = cu_seqlens - cu_seqlens[0]
    return (ends.unique_consecutive() * merge**2).int()


def split_deepstack(features: Tensor, layers: int) -> tuple[Tensor, list[Tensor]]:
    """Splits the features of a gated Qwen3-VL tower.

    Args:
        features: ``[..., (1 + layers) * D]``.
        layers: the number of tapped layers.

    Returns:
        The tower's output ``[..., D]``, and for each tapped layer a tensor ``[..., D]``, which the
        first layers of the language model add.

    Raises:
        ValueError: the width is not a multiple of ``1 + layers``.
    """
    if features.shape[-1] % (1 + layers):
        raise ValueError(
            f"features: expected a width of {1 + layers} equal parts, the output and those of "
            f"{layers} layers, got {features.shape[-1]}"
        )
    output, *taps = features.chunk(1 + layers, -1)
    return output, taps
