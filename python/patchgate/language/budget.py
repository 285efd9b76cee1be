"""Brings the videos of a prompt under a budget of tokens. Letters: T frames (or tubelets)."""

from collections.abc import Sequence
from typing import Any

import torch

from patchgate._check import checked_count
from patchgate.language.clips import Clip
from patchgate.language.models import ChatModel
from patchgate.merging import merge
from patchgate.merging.settings import Per
from patchgate.tokens import VideoTokens

# What ``merge`` may do more where its usual links do not meet a budget: join any two cells of a
# frame, and tokens of different scenes. With these it meets every budget.
_RELAXED: dict[str, Any] = {"similar": True, "delta": None}


def checked_budgets(
    budget: int | None, tokens_per_second: int | None, layout: str
) -> tuple[int | None, int | None]:
    """Checks the budgets of a call.

    Raises:
        TypeError, ValueError: they are no counts, both are given, or the layout holds none.
    """
    given = {"budget": budget, "tokens_per_second": tokens_per_second}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ValueError("expected budget or tokens_per_second, got both")
    if named and layout == "dense":
        raise ValueError(
            f'{named[0]}: layout="dense" shows every cell, so that it holds no budget; use '
            'layout="packed"'
        )
    if budget is not None:
        budget = checked_count("budget", budget, 1)
    if tokens_per_second is not None:
        tokens_per_second = checked_count("tokens_per_second", tokens_per_second, 1)
    return budget, tokens_per_second


def within_budget(chat: ChatModel, clips: Sequence[Clip], budget: int) -> list[Clip]:
    """Merges the tokens of a prompt's videos until all of them are at most so many.

    Each video has the share of the budget that it has of the tokens.

    Raises:
        ValueError: the budget has no token for each video.
    """
    counts = [int(chat.shown(clip.tokens).sum()) + chat.extra for clip in clips]
    if sum(counts) <= budget:
        return list(clips)
    least = (1 + chat.extra) * len(clips)
    if budget < least:
        raise ValueError(
            f"budget: expected at least {least} tokens for {len(clips)} videos, got {budget}"
        )
    free, total = budget - least, sum(counts)
    shares = [1 + chat.extra + free * count // total for count in counts]
    return [
        clip._replace(tokens=_merged(chat, clip.tokens, share - chat.extra, "video"))
        for clip, share in zip(clips, shares, strict=True)
    ]


def within_rate(chat: ChatModel, clips: Sequence[Clip], tokens_per_second: int) -> list[Clip]:
    """Merges the tokens of each second of each video until they are at most so many.

    Seconds are counted from a video's first frame.
    """
    return [
        clip._replace(tokens=_merged(chat, clip.tokens, tokens_per_second, "second"))
        for clip in clips
    ]


def _merged(chat: ChatModel, tokens: VideoTokens, most: int, per: Per) -> VideoTokens:
    """Merges until the prompt's tokens are at most ``most``.

    LLaVA-OneVision pools: its prompt has another number of tokens than the video. It begins with
    the same share of the video's tokens, and tries fewer until the prompt's are few enough.
    """
    merged, came = tokens, _most_shown(chat, tokens, per)
    wanted = max(most, most * len(tokens) // max(1, int(chat.shown(tokens).sum())))
    while came > most and wanted > 0:
        merged = _merge(tokens, wanted, per)
        came = _most_shown(chat, merged, per)
        wanted = min(wanted - 1, wanted * most // max(came, 1))
    if came > most:
        unit = "" if per == "video" else f" in a {per}"
        raise ValueError(
            f"budget: the model shows {came} tokens{unit} even where the video has one; expected "
            f"a budget of at least that, got {most}"
        )
    return merged


def _merge(tokens: VideoTokens, budget: int, per: Per) -> VideoTokens:
    try:
        return merge(tokens, budget=budget, per=per)
    except ValueError:
        return merge(tokens, budget=budget, per=per, **_RELAXED)


def _most_shown(chat: ChatModel, tokens: VideoTokens, per: Per) -> int:
    """Counts the tokens of the prompt, or of the second that has most."""
    shown = chat.shown(tokens)  # [T]
    if per == "video":
        return int(shown.sum())
    second = (tokens.pts_seconds - tokens.pts_seconds[0]).floor().long()
    _, place = second.unique(return_inverse=True)
    return int(torch.zeros_like(shown).index_add_(0, place, shown).max())
