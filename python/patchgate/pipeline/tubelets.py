"""Cuts batches of decoded frames at whole tubelets. Letters: T frames, f frames of a tubelet."""

from collections.abc import Iterable, Iterator

import torch

from patchgate.decode import FrameBatch


def whole_tubelets(batches: Iterable[FrameBatch], frames: int) -> Iterator[FrameBatch]:
    """Yields the same frames in other batches, which end with a whole tubelet.

    Only the last batch, and one before a change of size or format, may end inside a tubelet.

    Args:
        frames: the number of frames of a tubelet.
    """
    held: FrameBatch | None = None  # frames of an incomplete tubelet
    for batch in batches:
        if held is not None and not _alike(held, batch):
            yield held
            held = None
        if held is not None:
            missing = frames - len(held)
            held, batch = joined(held, part(batch, 0, missing)), part(batch, missing, len(batch))
            if len(held) < frames:
                continue
            yield held
        whole = len(batch) // frames * frames
        if whole:
            yield part(batch, 0, whole)
        held = joined(part(batch, whole, len(batch))) if whole < len(batch) else None
    if held is not None:
        yield held


def part(batch: FrameBatch, first: int, last: int) -> FrameBatch:
    """Returns the frames from ``first`` to before ``last``, without a copy."""
    y, cb, cr = (plane[first:last] for plane in batch.planes)
    times = (batch.pts_seconds[first:last], batch.duration_seconds[first:last])
    key = None if batch.key_frame is None else batch.key_frame[first:last]
    return FrameBatch((y, cb, cr), *times, batch.colour, key)


def joined(*parts: FrameBatch) -> FrameBatch:
    """Joins batches as copies, which keep no larger batch alive."""
    y, cb, cr = (torch.cat(planes) for planes in zip(*(p.planes for p in parts), strict=True))
    pts = torch.cat([part.pts_seconds for part in parts])
    duration = torch.cat([part.duration_seconds for part in parts])
    keys = [part.key_frame for part in parts if part.key_frame is not None]
    key = torch.cat(keys) if len(keys) == len(parts) else None
    return FrameBatch((y, cb, cr), pts, duration, parts[0].colour, key)


def _alike(a: FrameBatch, b: FrameBatch) -> bool:
    shapes = [[plane.shape[1:] for plane in batch.planes] for batch in (a, b)]
    return shapes[0] == shapes[1] and a.colour == b.colour
