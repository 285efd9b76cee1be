"""Where a video is cut into windows.

Letters: T frames.
"""

from torch import Tensor

from patchgate.merging.budget import seconds
from patchgate.merging.settings import MergeSettings
from patchgate.tokens import TokenChunk
from patchgate.tokens.chunk import split


def ready(pts_seconds: Tensor, origin: float, settings: MergeSettings) -> int:
    """How many of the frames that wait are a window, whatever comes after them; 0: more must come.

    Two windows that share a second share its budget. The first cannot know what the second will
    need: it may use all of it up. So none is cut in two that fits into a window.

    Args:
        pts_seconds: ``[T]`` float64. origin: from which seconds are counted.
    """
    width, frames = settings.window, len(pts_seconds)
    if width is None or frames < width:
        return 0
    if settings.per != "second":
        return width
    if frames == width:
        return 0  # the next frame tells whether a second ends here
    ends = seconds(pts_seconds[: width + 1], origin).diff().nonzero().flatten() + 1
    return int(ends[-1]) if len(ends) else width


def windows(chunk: TokenChunk, settings: MergeSettings) -> list[TokenChunk]:
    """The frames of a video, some at a time."""
    found: list[TokenChunk] = []
    origin, before = float(chunk.pts_seconds[0]), 0
    while frames := ready(chunk.pts_seconds, origin, settings):
        first, chunk = split(chunk, frames, before)
        before += frames
        found.append(first)
    return [*found, chunk] if len(chunk.kind) else found
