"""Where and when to look at a clip, and what its truth says stands there.

Letters: T frames, n boxes.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reading.truth import Box, Clip, Item

SETTLE_SECONDS = 0.1  # after something appears, before it is asked about
PROBE_SECONDS = 0.2  # between the looks at one place
AGREE = 0.8  # overlap (intersection over union) above which two boxes are one place

ABSENT, THERE, UNCLEAR = 0, 1, 2  # what a string is at a place in a frame


@dataclass(frozen=True)
class Look:
    """A place in a frame, to be read."""

    frame: int
    box: Box
    kind: Literal["text", "shape"]


def said(clip: Clip, look: Look) -> str:
    """What the truth says stands there: the reading of a reader that is never wrong."""
    for item in clip.items:
        box = item.at(look.frame)
        if box is not None and item.kind == look.kind and overlap(box, look.box) > AGREE:
            return item.text
    return ""


def presence(clip: Clip, text: str, box: Box) -> NDArray[np.int8]:
    """In every frame: whether ``text`` stands there, does not, or only half (UNCLEAR), [T]."""
    state = np.full(length(clip), ABSENT, np.int8)
    for item in clip.items:
        if item.text != text:
            continue
        share = overlap(item.boxes, box)  # [n]
        mine = state[item.first : item.first + len(share)]
        mine[(share > 0) & (mine == ABSENT)] = UNCLEAR
        mine[(share > AGREE) & item.visible] = THERE
    return state


def length(clip: Clip) -> int:
    """Frames up to the last that shows anything."""
    return max((item.first + len(item.boxes) for item in clip.items), default=0)


def overlap(boxes: NDArray[np.float32] | Box, box: NDArray[np.float32] | Box) -> NDArray:
    """Intersection over union of ``boxes`` [.., 4] with ``box`` [4]: [..]."""
    a, b = np.asarray(boxes, np.float64), np.asarray(box, np.float64)
    both = np.minimum(a[..., 2:], b[2:]) - np.maximum(a[..., :2], b[:2])  # [.., 2]
    shared = both.clip(min=0).prod(-1)
    either = (a[..., 2:] - a[..., :2]).prod(-1) + (b[2:] - b[:2]).prod(-1) - shared
    return shared / either


def resting_place(item: Item) -> Box | None:
    """The one place where it stands whenever it is visible, if there is one."""
    if not item.visible.any():
        return None
    box = np.median(item.boxes[item.visible], 0)  # [4]
    rests = (overlap(item.boxes[item.visible], box) > AGREE).all()
    return tuple(box.tolist()) if rests else None


# --- times -----------------------------------------------------------------------------------


def fair(frame: int, fps: int) -> bool:
    """Whether no sampling of every k-th frame, from the first on, takes exactly this one.

    It would otherwise be asked about the very frames it saw. What shares no factor with twice the
    rate is no multiple of a step that divides the rate, nor of an even one. (Steps of a fraction
    and other phases take any frame some time; those are averaged over phases.)
    """
    return math.gcd(frame, 2 * fps) == 1


def probes(clip: Clip, rng: np.random.Generator) -> list[int]:
    """Frames to look at a place in, unevenly spaced; the same for all questions of a clip, so that
    readers meet the same crops again."""
    step = PROBE_SECONDS * clip.fps
    frames = [t for t in range(length(clip)) if fair(t, clip.fps)]
    starts = np.arange(rng.uniform(0, step), length(clip), step)
    return sorted({frames[i] for i in np.searchsorted(frames, starts) if i < len(frames)})


def settled(item: Item, fps: int) -> NDArray[np.int64]:
    """Fair frames in which it is visible and has been for a moment."""
    wait = math.ceil(SETTLE_SECONDS * fps)
    if len(item.visible) <= wait:
        return np.zeros(0, np.int64)
    lasting = np.lib.stride_tricks.sliding_window_view(item.visible, wait + 1).all(1)
    frames = item.first + wait + lasting.nonzero()[0]
    return np.array([t for t in frames if fair(int(t), fps)], np.int64)


def middle(frames: list[int], fps: int) -> int | None:
    """The fair frame nearest the middle of a run."""
    able = [t for t in frames if fair(t, fps)]
    return min(able, key=lambda t: abs(2 * t - frames[0] - frames[-1]), default=None)


def distance(one: str, other: str) -> int:
    """Levenshtein's: the fewest characters to insert, delete or replace."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]
