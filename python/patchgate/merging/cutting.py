"""Cuts a video into windows.

Letters: T frames.
"""

from torch import Tensor

from patchgate.merging.budget import seconds
from patchgate.merging.settings import MergeSettings
from patchgate.tokens import TokenChunk
from patchgate.tokens.chunk import split


def ready(pts_seconds: Tensor, origin: float, settings: MergeSettings) -> int:
    """Returns how many of the waiting frames form the next window; 0: more frames must come.

    Two windows that share a second share its budget, and the first one may use it all. So a second
    that fits into a window is not cut in two.

    Args:
        pts_seconds: ``[T]`` float64, the times of the waiting frames.
        origin: the time from which seconds are counted.
        settings: the settings.
    """
    width, frames = settings.window, len(pts_seconds)
    if width is None or frames < width:
        return 0
    if settings.per != "second":
        return width
    if frames == width:
        return 0  # only the next frame shows whether a second ends here
    ends = seconds(pts_seconds[: width + 1], origin).diff().nonzero().flatten() + 1
    return int(ends[-1]) if len(ends) else width


def windows(chunk: TokenChunk, settings: MergeSettings) -> list[TokenChunk]:
    """Cuts the frames of a whole video into windows."""
    found: list[TokenChunk] = []
    origin, before = float(chunk.pts_seconds[0]), 0
    while frames := ready(chunk.pts_seconds, origin, settings):
        first, chunk = split(chunk, frames, before)
        before += frames
        found.append(first)
    return [*found, chunk] if len(chunk.kind) else found
