"""The ids of prompts whose videos show kept cells only.

Letters: L ids of a prompt.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """The ids that stand in a prompt for a video."""

    ids: list[int]
    tokens: list[tuple[int, int]]  # the first and the last index in ``ids`` of each run of tokens


def spoken_run(
    counts: Sequence[int], words: Sequence[Sequence[int]], begin: int, pad: int, end: int
) -> Run:
    """Makes Qwen3-VL's: each frame with tokens has its time in words before it.

    Args:
        counts: the tokens of each frame. One without is left out, with its time.
        words: the ids of each frame's time.
        begin, end: the ids of the marks around vision.
        pad: the id of a token.
    """
    ids: list[int] = []
    tokens = []
    for count, time in zip(counts, words, strict=True):
        if count:
            ids += [*time, begin]
            tokens.append((len(ids), len(ids) + count - 1))
            ids += [*[pad] * count, end]
    return Run(ids, tokens)


def plain_run(count: int, pad: int) -> Run:
    """Makes Qwen2.5-VL's: one run of tokens."""
    return Run([pad] * count, [(0, count - 1)])


class Expanded(NamedTuple):
    """A prompt with its videos."""

    ids: list[int]  # [L]
    moved: list[int]  # of each id of the given prompt: its new index
    begins: list[int]  # of each video: the index of its run's first id


def expanded(ids: Sequence[int], pad: int, runs: Sequence[Run]) -> Expanded:
    """Puts the videos' runs in the place of their placeholders.

    Args:
        ids: a prompt with one ``pad`` for each video.
        pad: the id of a video's placeholder.
        runs: of each video, in the prompt's order.

    Raises:
        ValueError: there are more or fewer placeholders.
    """
    places = [at for at, each in enumerate(ids) if each == pad]
    if len(places) != len(runs):
        raise ValueError(
            f"prompt: expected a placeholder for each of the request's {len(runs)} videos, got "
            f"{len(places)}"
        )
    found: list[int] = []
    moved, begins = [], []
    for each in ids:
        moved.append(len(found))
        if each == pad:
            begins.append(len(found))
            found += runs[len(begins) - 1].ids
        else:
            found.append(each)
    return Expanded(found, moved, begins)
