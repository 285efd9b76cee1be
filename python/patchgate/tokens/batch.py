"""Several videos' tokens as one batch.

Letters: B videos, K tokens of all, D features, L the most tokens of a video.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from patchgate._tensors import arange, whole
from patchgate.tokens.handling import place_of
from patchgate.tokens.video_tokens import VideoTokens


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """The tokens of several videos, one video after the other: what ``collate`` returns.

    All tensors are on one device. ``cu_seqlens`` and ``max_seqlen`` are what attention over
    sequences of different lengths takes (``flash_attn_varlen_func`` and others).
    """

    features: Tensor  # [K, D]
    cu_seqlens: Tensor  # [B + 1] int32: video b has the tokens cu_seqlens[b]:cu_seqlens[b + 1]
    max_seqlen: int  # the most tokens of a video
    frame: Tensor  # [K] int64: the frame of its video that emitted the token; < 0: an earlier one
    cell: Tensor  # [K, 2] int64: (row, column) in cells
    pts_seconds: Tensor  # [K] float64: the time of that frame; NaN of an earlier one

    def __len__(self) -> int:
        return len(self.cu_seqlens) - 1

    def __iter__(self) -> Iterator[Tensor]:
        """Yields the features of each video, ``[K of it, D]``, without a copy. Synchronises."""
        return iter(self.features.split(self.cu_seqlens.diff().tolist()))

    @property
    def video(self) -> Tensor:
        """The number of each token's video, ``[K]`` int64."""
        counts = self.cu_seqlens.diff().long()
        return arange(len(self), device=counts.device).repeat_interleave(
            counts, output_size=len(self.features)
        )

    def padded(self, value: float = 0.0) -> tuple[Tensor, Tensor]:
        """Returns the features as ``[B, L, D]``, and which of them are tokens, ``[B, L]`` bool.

        Args:
            value: what stands behind the last token of a video.
        """
        video = self.video
        place = arange(len(video), device=video.device)
        place = place - self.cu_seqlens.long()[video]  # [K]
        b, d = len(self), self.features.shape[1]
        out = self.features.new_full((b, self.max_seqlen, d), value)
        mask = torch.zeros((b, self.max_seqlen), dtype=torch.bool, device=video.device)
        out[video, place] = self.features
        mask[video, place] = True
        return out, mask

    def to(self, device: Any = None, dtype: torch.dtype | None = None) -> Self:
        """Brings all tensors to a device, and the features to a dtype.

        Args:
            device: a device; or a dtype, or a tensor whose device and dtype are taken.
            dtype: the dtype of the features.
        """
        place, kind = place_of(device, dtype)
        tables = {name: getattr(self, name).to(place)
                  for name in ("cu_seqlens", "frame", "cell", "pts_seconds")}  # fmt: skip
        return replace(self, features=self.features.to(place, kind), **tables)

    def __repr__(self) -> str:
        k, d = self.features.shape
        return (
            f"TokenBatch(B={len(self)}, K={k}, D={d}, {self.features.dtype}, "
            f"{self.features.device}, at most {self.max_seqlen} a video)"
        )


def collate(videos: Sequence[VideoTokens]) -> TokenBatch:
    """Joins the tokens of several videos in one batch, as a ``DataLoader``'s ``collate_fn`` does.

    Args:
        videos: at least one; their features have one width, dtype and device.

    Returns:
        A ``TokenBatch`` on the device of the features. The call copies tables to it.

    Raises:
        TypeError: they are no ``VideoTokens``.
        ValueError: there are none, or their features do not fit together.
    """
    if isinstance(videos, VideoTokens) or not isinstance(videos, Sequence):
        raise TypeError(
            f"collate: expected a list of VideoTokens, got {type(videos).__name__}; one video is "
            "collate([tokens])"
        )
    for each in videos:
        if not isinstance(each, VideoTokens):
            raise TypeError(f"collate: expected VideoTokens, got {type(each).__name__}")
    if not videos:
        raise ValueError("collate: expected at least one video's tokens, got an empty list")
    forms = list(dict.fromkeys(_form(each) for each in videos))
    if len(forms) > 1:
        raise ValueError(
            f"collate: expected features of one width, dtype and device, got {forms[0]} and "
            f"{forms[1]}; VideoTokens.to(device, dtype) brings them together"
        )
    device, counts = videos[0].features.device, [len(each) for each in videos]
    ends = whole([0, *counts]).cumsum(0)
    if int(ends[-1]) >= 1 << 31:
        raise ValueError(f"collate: expected fewer than 2^31 tokens, got {int(ends[-1])}")
    return TokenBatch(
        features=torch.cat([each.features for each in videos]),
        cu_seqlens=ends.int().to(device),
        max_seqlen=max(counts),
        frame=torch.cat([each.frame for each in videos]).to(device),
        cell=torch.cat([each.cell for each in videos]).to(device),
        pts_seconds=torch.cat([_seconds(each) for each in videos]).to(device),
    )


def _form(tokens: VideoTokens) -> str:
    features = tokens.features
    return f"[K, {features.shape[1]}] {features.dtype} on {features.device}"


def _seconds(tokens: VideoTokens) -> Tensor:
    """Returns the time of each token's frame, ``[K]`` float64."""
    before = tokens.frame < 0
    known = torch.cat([tokens.pts_seconds, tokens.pts_seconds.new_full((1,), torch.nan)])
    return known[torch.where(before, len(known) - 1, tokens.frame)]
