"""A video's kept features with their places, as they are shown in a prompt.

Letters: T tubelets, h w cells, N = h * w, K tokens, E features of a token.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from patchgate.language.positions import tubelet_seconds
from patchgate.serving.times import KEY, checked_times
from patchgate.tokens import VideoTokens

FORMAT = "precomputed_embedding"  # how SGLang calls features that a request brings


class Video(NamedTuple):
    """The tokens of a video."""

    features: Tensor  # [K, E], in order of frame and cell
    mask: Tensor  # [T, h, w] bool: the cells that are tokens
    begins: list[float]  # [T]: seconds, when each tubelet begins
    middles: list[float]  # [T]: seconds, the middle of its first and last frame

    @classmethod
    def of_tokens(cls, tokens: VideoTokens, temporal_patch: int) -> Self:
        """Takes a video out of tokens of the model's tower. It synchronises.

        Raises:
            ValueError: a token has no cell of its own, because tokens were merged.
        """
        if bool((tokens.frame < 0).any()):
            raise ValueError(
                "tokens: expected one token for each kept cell, got merged ones; SGLang can show a "
                "token only at a cell's place, so do not merge"
            )
        mask = torch.zeros(tokens.shape, dtype=torch.bool, device=tokens.cell.device)
        mask[tokens.frame, tokens.cell[:, 0], tokens.cell[:, 1]] = True
        middles = tubelet_seconds(tokens, temporal_patch)
        return cls(tokens.features, mask, tokens.pts_seconds.tolist(), middles.tolist())

    @classmethod
    def of_item(cls, item: Mapping[str, Any]) -> Self:
        """Reads what ``video_data`` has made, from a request.

        Raises:
            TypeError, ValueError: it is not such an entry, or its parts do not fit together.
        """
        own = item.get(KEY)
        if not isinstance(own, Mapping) or set(own) != {"mask", "begins", "middles"}:
            raise ValueError(
                "video: expected what patchgate.serving.sglang.video.video_data makes, with "
                f'"{KEY}" beside its features, got {sorted(map(str, item))}'
            )
        features, mask = item.get("feature"), own["mask"]
        if not isinstance(features, Tensor) or not isinstance(mask, Tensor):
            raise TypeError(
                f"video: expected tensors of features and mask, got {type(features).__name__} and "
                f"{type(mask).__name__}"
            )
        features, mask = features.cpu(), mask.bool().cpu()
        begins, middles = (checked_times(own[name]) for name in ("begins", "middles"))
        if mask.dim() != 3 or features.dim() != 2 or int(mask.sum()) != len(features):
            raise ValueError(
                "video: expected one feature for each kept cell, got features "
                f"{list(features.shape)} and a mask {list(mask.shape)} of {int(mask.sum())} cells"
            )
        if not len(mask) == len(begins) == len(middles):
            raise ValueError(
                f"video: expected the times of its {len(mask)} tubelets, got {len(begins)} and "
                f"{len(middles)}"
            )
        return cls(features, mask, begins, middles)


def video_data(tokens: VideoTokens, temporal_patch: int = 2) -> dict[str, Any]:
    """Makes an entry of SGLang's ``video_data`` of tokens that were made elsewhere.

    Args:
        tokens: those of one video, from ``tokenize`` with the served model's own tower.
        temporal_patch: the number of frames of a tubelet.

    Returns:
        The entry, for ``sglang.Engine.generate(video_data=[..])``. It synchronises.

    Raises:
        ValueError: a token has no cell of its own, because tokens were merged.
    """
    video = Video.of_tokens(tokens, temporal_patch)
    own = {"mask": video.mask.cpu(), "begins": video.begins, "middles": video.middles}
    return {"format": FORMAT, "feature": video.features.cpu(), KEY: own}
