"""Cuts batches of decoded frames at whole tubelets. Letters: T frames, f frames of a tubelet."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch

from patchgate.decode import FrameBatch

_Batch = TypeVar("_Batch", bound=FrameBatch)


def whole_tubelets(batches: Iterable[FrameBatch], frames: int) -> Iterator[FrameBatch]:
    """Yields the same frames in other batches, which end with a whole tubelet.

    Only the last batch, and one before a change of size or format, may end inside a tubelet.

    Args:
        frames: the number of frames of a tubelet.
    """
    tubelets = Tubelets(frames)
    for batch in batches:
        yield from tubelets.push(batch)
    yield from tubelets.flush()


class Tubelets:
    """Cuts batches at whole tubelets, and holds the frames of an incomplete one.

    Attributes:
        held: these frames; None: there are none. A batch that is held is never written to.
    """

    def __init__(self, frames: int, held: FrameBatch | None = None) -> None:
        """``frames``: the number of frames of a tubelet."""
        self._frames, self.held = frames, held

    def push(self, batch: FrameBatch) -> list[FrameBatch]:
        """Returns the batches that are complete with the next frames."""
        held, done = self.held, []
        if held is not None and not _alike(held, batch):
            done.append(held)
            held = None
        if held is not None:
            missing = self._frames - len(held)
            held, batch = joined(held, part(batch, 0, missing)), part(batch, missing, len(batch))
            if len(held) < self._frames:
                self.held = held
                return done
            done.append(held)
        whole = len(batch) // self._frames * self._frames
        if whole == len(batch):  # it need not be cut
            self.held = None
            return [*done, batch] if whole else done
        if whole:
            done.append(part(batch, 0, whole))
        self.held = joined(part(batch, whole, len(batch)))
        return done

    def flush(self) -> list[FrameBatch]:
        """Returns the incomplete tubelet, if there is one."""
        done = [] if self.held is None else [self.held]
        self.held = None
        return done


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


def derived(kind: type[_Batch], batch: FrameBatch, **changed: Any) -> _Batch:
    """Makes a batch of the planes of another one, which were checked when that one was made.

    Args:
        kind: the class of the new one.
        batch: the other one; nothing of it is copied.
        changed: fields that differ, or that the other one does not have, such as ``pts_seconds``.

    Raises:
        ValueError: times or key frames are not of T frames.
    """
    made = object.__new__(kind)
    own = {
        "planes": batch.planes,
        "pts_seconds": batch.pts_seconds,
        "duration_seconds": batch.duration_seconds,
        "colour": batch.colour,
        "key_frame": batch.key_frame,
    }
    vars(made).update(own | changed)
    made.check_times()
    return made


def _alike(a: FrameBatch, b: FrameBatch) -> bool:
    shapes = [[plane.shape[1:] for plane in batch.planes] for batch in (a, b)]
    return shapes[0] == shapes[1] and a.colour == b.colour
