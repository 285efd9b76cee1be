"""Counts what the gate did to every frame, and chooses the frames that show it best.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, h w cells.
"""

import math
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate._tensors import arange, doubles, whole
from patchgate.gate import CHANGED, MOVED, RETURNED
from patchgate.tokens import TokenChunk

OnChunk = Callable[[TokenChunk], None]

MID_GREY = 128  # the level that shows where the light has gone
_ONE = 4096  # a gain of 1, and an offset of one grey level
_MOST_CUTS = 4  # key frames shown for being key frames
_SLACK_SECONDS = 1e-3  # containers round time stamps: a frame is there from so much before its own


@dataclass(eq=False)
class History:
    """The counts of every frame (or tubelet)."""

    cells: int  # of one frame
    pts_seconds: Tensor  # [T] float64
    duration_seconds: Tensor  # [T] float64
    changed: Tensor  # [T] int64: cells
    moved: Tensor  # [T] int64: cells
    tubelet: int = 1  # frames of one
    # [T] int64: cells that show a picture of before again; None: the gate remembers none
    returned: Tensor | None = None
    # [T, 2] float64: gain, and offset in grey levels, of luma; None: the gate follows no light
    weights: Tensor | None = None

    @property
    def is_key(self) -> Tensor:
        """``[T]`` bool: every cell was encoded."""
        return self.changed == self.cells

    @property
    def kept_share(self) -> Tensor:
        """``[T]`` float64: tokens over cells."""
        return self.changed.double() / self.cells

    @property
    def mid_grey(self) -> Tensor | None:
        """``[T]`` float64: what a mid-grey of the last key frame has become, in grey levels.

        It is 128 in a key frame, which is encoded in its own light. None: no light is followed.
        """
        if self.weights is None:
            return None
        level, levels = float(MID_GREY), array("d")
        for (gain, offset), is_key in zip(self.weights.tolist(), self.is_key.tolist(), strict=True):
            level = float(MID_GREY) if is_key else gain * level + offset
            levels.append(level)
        return doubles(levels)

    @property
    def begin(self) -> float:
        """The time at which the first frame appears, in seconds of the video's clock."""
        return float(self.pts_seconds[0])

    @property
    def end(self) -> float:
        """The time at which the last frame disappears, in seconds of the video's clock."""
        return float(self.pts_seconds[-1] + self.duration_seconds[-1])

    def frames_at(self, fps: float) -> int:
        """Counts the frames that a sampling at ``fps`` would take."""
        if not len(self.pts_seconds):
            return 0
        # A tubelet's frames share its time, as if evenly: their own times are not kept.
        share = arange(self.tubelet).double() / self.tubelet
        shown = (self.pts_seconds[:, None] + self.duration_seconds[:, None] * share).flatten()
        # The first moment (begin + k / fps) at which each is there, and the number of all: there
        # may be more moments than there is memory, as in a video with a pause of a day.
        first = ((shown - _SLACK_SECONDS - self.begin) * fps).ceil().clamp(min=0)  # [T * tubelet]
        count = math.ceil(max(self.end - self.begin, 1e-9) * fps)
        until = torch.cat([first[1:], first.new_tensor([count])]).clamp(max=count)
        return int((first < until).sum())

    def dense_tokens(self, frames: int) -> int:
        """Returns the tokens of that many frames without a gate; the last tubelet is filled up."""
        return -(-frames // self.tubelet) * self.cells

    def frame_shown_at(self, seconds: float) -> int:
        """Returns the number of the frame that is shown at a time of the video's clock.

        Raises:
            ValueError: nothing is shown at that time.
        """
        if not self.begin <= seconds < self.end:
            last = float(self.pts_seconds[-1])
            raise ValueError(f"no frame is shown at {seconds:g} s; give {self.begin:g}..{last:g}")
        time = self.pts_seconds.new_tensor(seconds)
        return int(torch.searchsorted(self.pts_seconds, time, right=True)) - 1


def unit(tubelet: int) -> str:
    """Returns the word for what a gate compares and a history counts: frame or tubelet."""
    return "frames" if tubelet == 1 else "tubelets"


def counted(count: int, tubelet: int) -> str:
    """``1,234 frames``, or, where one token spans two frames, ``617 tubelets of 2 frames``."""
    return f"{count:,} {unit(tubelet)}" + (f" of {tubelet} frames" if tubelet > 1 else "")


class Choice(NamedTuple):
    """A frame to show, and why it was chosen."""

    frame: int
    label: str


def history_of(
    chunks: Iterable[TokenChunk], cells: int, on_chunk: OnChunk | None, tubelet: int = 1
) -> History:
    """Counts the chunks as they come, and keeps only the counts."""
    # Numbers, not tensors: small tensors that stay between large ones that go keep the heap from
    # shrinking (measured: half a megabyte a chunk).
    pts, duration, changed, moved = array("d"), array("d"), array("q"), array("q")
    returned, weights = array("q"), array("d")
    follows = False
    for chunk in chunks:
        kind = chunk.kind.flatten(1)  # [T, h * w]
        pts.extend(chunk.pts_seconds.tolist())
        duration.extend(chunk.duration_seconds.tolist())
        changed.extend((kind == CHANGED).sum(1).tolist())
        moved.extend((kind == MOVED).sum(1).tolist())
        returned.extend((kind == RETURNED).sum(1).tolist())
        if chunk.weights is not None:  # [T, f, C, 2]: luma of a tubelet's first frame
            follows = True
            weights.extend((chunk.weights[:, 0, 0].double() / _ONE).flatten().tolist())
        if on_chunk is not None:
            on_chunk(chunk)
    starts, lengths = (doubles(values) for values in (pts, duration))
    new, moving = (whole(values) for values in (changed, moved))
    light = doubles(weights).view(-1, 2) if follows else None
    return History(cells, starts, lengths, new, moving, tubelet, whole(returned), light)


def telling_frames(history: History) -> list[Choice]:
    """Chooses up to three frames, in order of time; key frames only if there are no others.

    "typical": the median frame. "busy": where half of the tokens went to frames with more change.
    "busiest": the most tokens.
    """
    count = len(history.changed)
    frames = arange(count)[~history.is_key]
    if not len(frames):
        frames = arange(count)
    changed = history.changed[frames]
    levels = changed.sort().values
    spent = levels.cumsum(0)
    busy = min(int(torch.searchsorted(spent, spent[-1] // 2)), len(levels) - 1)
    wanted = {
        "busiest": int(levels[-1]),
        "busy": int(levels[busy]),
        "typical": int(levels[(len(levels) - 1) // 2]),
    }
    chosen: dict[int, str] = {}
    for label, level in wanted.items():
        slack = 0 if label == "busiest" else level // 20  # so that the moments can lie apart
        alike = frames[(changed - level).abs() <= slack]
        others = whole([-1, count, *chosen])  # the ends, too, say little
        apart = (alike[:, None] - others).abs().amin(1)
        chosen.setdefault(int(alike[apart.argmax()]), label)
    return [Choice(frame, chosen[frame]) for frame in sorted(chosen)]


def strip_frames(history: History, count: int, asked: Iterable[int] = ()) -> list[Choice]:
    """Chooses frames in order of time: those asked for, the telling ones, a few key frames, and
    then those farthest from all of these, so that no stretch of time is left out.

    They are at most ``count``, unless more were asked for.
    """
    chosen = dict.fromkeys(asked, "chosen")
    keys = history.is_key.nonzero().flatten().tolist()
    cuts = keys[1:]
    step = -(-len(cuts) // _MOST_CUTS) or 1
    for choice in (
        *telling_frames(history),
        *(Choice(key, "first frame" if key == 0 else "key frame") for key in keys[:1]),
        *(Choice(cut, "key frame") for cut in cuts[::step]),
    ):
        if len(chosen) < count:
            chosen.setdefault(choice.frame, choice.label)
    times = history.pts_seconds
    distance = torch.full_like(times, torch.inf)
    for frame in chosen:
        distance = torch.minimum(distance, (times - times[frame]).abs())
    while len(chosen) < min(count, len(times)):
        farthest = int(distance.argmax())
        chosen[farthest] = ""
        distance = torch.minimum(distance, (times - times[farthest]).abs())
    return [Choice(frame, chosen[frame]) for frame in sorted(chosen)]
