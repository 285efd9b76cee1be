"""What the gate did to a video: counts for every frame, and a few moments to look at.

Two passes, so that the moments can be chosen by the counts and nothing but they is held: the first
keeps some numbers a frame, the second rebuilds the pictures and keeps the chosen ones.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from typing import Any, NamedTuple

import torch
from torch import Tensor

from patchgate import grid, reconstruct
from patchgate.colour import yuv_to_rgb
from patchgate.decode import open_video
from patchgate.gate import CHANGED, MOVED, Gate
from patchgate.pipeline import TokenChunk, token_chunks
from patchgate.tokenize import layout_of
from patchgate.tokens import TokenLayout, VideoTokens, cu_seqlens

OnChunk = Callable[[TokenChunk], None]


@dataclass(eq=False)
class History:
    """The counts of every frame (or tubelet)."""

    cells: int  # of one frame
    pts_seconds: Tensor  # [T] float64
    duration_seconds: Tensor  # [T] float64
    changed: Tensor  # [T] int64: cells
    moved: Tensor  # [T] int64: cells

    @property
    def is_key(self) -> Tensor:
        """``[T]`` bool: every cell was encoded."""
        return self.changed == self.cells

    @property
    def kept_share(self) -> Tensor:
        """``[T]`` float64: tokens over cells."""
        return self.changed.double() / self.cells

    def frames_at(self, fps: float) -> int:
        """How many of the frames are shown at the moments of a sampling at `fps`."""
        if not len(self.pts_seconds):
            return 0
        begin = float(self.pts_seconds[0])
        end = float(self.pts_seconds[-1] + self.duration_seconds[-1])
        moments = torch.arange(0, max(end - begin, 1e-9), 1 / fps, dtype=torch.float64) + begin
        return len(torch.searchsorted(self.pts_seconds, moments + 1e-3, right=True).unique())

    def frame_shown_at(self, seconds: float) -> int:
        """The frame on the screen at a time of the video's clock.

        Raises:
            ValueError: nothing is shown at that time.
        """
        begin, last = float(self.pts_seconds[0]), float(self.pts_seconds[-1])
        end = last + float(self.duration_seconds[-1])
        if not begin <= seconds < end:
            raise ValueError(f"no frame is shown at {seconds:g} s; give {begin:g}..{last:g}")
        time = self.pts_seconds.new_tensor(seconds)
        return int(torch.searchsorted(self.pts_seconds, time, right=True)) - 1


class Choice(NamedTuple):
    """A frame to look at, and why this one."""

    frame: int
    label: str


class Moment(NamedTuple):
    """One frame, as it was and as the tokens tell it."""

    label: str
    pts_seconds: float
    original: Tensor  # [3, H, W] uint8 RGB, on the grid
    rebuilt: Tensor  # [3, H, W] uint8 RGB
    kind: Tensor  # [h, w] uint8
    error: float  # of the sub-block that differs most, in grey levels of 255
    limit: float  # that the gate promised, in grey levels of 255


def history_of(chunks: Iterable[TokenChunk], cells: int, on_chunk: OnChunk | None) -> History:
    """Counts what goes by and forgets it."""
    # Numbers, not tensors: small tensors that stay between large ones that go keep the heap from
    # shrinking (measured: half a megabyte a chunk).
    pts, duration, changed, moved = array("d"), array("d"), array("q"), array("q")
    for chunk in chunks:
        kind = chunk.kind.flatten(1)  # [T, h * w]
        pts.extend(chunk.pts_seconds.tolist())
        duration.extend(chunk.duration_seconds.tolist())
        changed.extend((kind == CHANGED).sum(1).tolist())
        moved.extend((kind == MOVED).sum(1).tolist())
        if on_chunk is not None:
            on_chunk(chunk)
    times = (torch.tensor(values, dtype=torch.float64) for values in (pts, duration))
    counts = (torch.tensor(values, dtype=torch.int64) for values in (changed, moved))
    return History(cells, *times, *counts)


def telling_frames(history: History) -> list[Choice]:
    """Up to three frames in order of time; no key frames, unless there is nothing else.

    "typical": the median frame. "busy": where half of the tokens went to frames with more change.
    "busiest": the most tokens.
    """
    count = len(history.changed)
    frames = torch.arange(count)[~history.is_key]
    if not len(frames):
        frames = torch.arange(count)
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
        others = torch.tensor([-1, count, *chosen])  # the ends, too, say little
        apart = (alike[:, None] - others).abs().amin(1)
        chosen.setdefault(int(alike[apart.argmax()]), label)
    return [Choice(frame, chosen[frame]) for frame in sorted(chosen)]


def moments(
    path: str | PathLike[str], gate: Gate, choices: list[Choice], **open_options: Any
) -> Iterator[Moment]:
    """Runs the gate again, up to the last of the chosen frames (ascending)."""
    wanted = list(choices)
    with (
        open_video(path, errors="ignore", **open_options) as video,
        closing(token_chunks(video, gate.fresh())) as chunks,
    ):
        matrix = video.colour.matrix
        layout = layout_of(gate, matrix)
        first, before = 0, None
        for chunk in chunks:
            pictures = rebuilt(chunk, layout, before)  # [T, f, C, H, W]
            while wanted and wanted[0].frame < first + len(pictures):
                choice = wanted.pop(0)
                at = choice.frame - first
                original = frame_at(path, float(chunk.pts_seconds[at]), gate)  # [C, H, W]
                yield Moment(
                    choice.label,
                    float(chunk.pts_seconds[at]),
                    yuv_to_rgb(original, matrix),
                    yuv_to_rgb(pictures[at, 0], matrix),
                    chunk.kind[at],
                    largest_error(original, pictures[at, 0], gate),
                    largest_limit(gate),
                )
            if not wanted:
                return
            first, before = first + len(pictures), pictures[-1]


def rebuilt(chunk: TokenChunk, layout: TokenLayout, before: Tensor | None) -> Tensor:
    """The pictures of a chunk ``[T, f, C, H, W]``, from its tokens and the picture before it."""
    tokens = VideoTokens(
        **chunk._asdict(),
        span=torch.ones_like(chunk.frame),
        cu_seqlens=cu_seqlens(chunk.kind),
        layout=layout,
        start_picture=before,
    )
    return reconstruct.planes(tokens, layout).unflatten(0, (-1, layout.temporal_patch))


def frame_at(path: str | PathLike[str], seconds: float, gate: Gate) -> Tensor:
    """The frame shown at a time, on the gate's grid, ``[C, H, W]``."""
    assert gate.size is not None
    with open_video(path, start=seconds, chunk=1, errors="ignore") as video:
        return grid.to_grid(next(iter(video)), gate.size, gate.settings.fit)[0]


def largest_error(original: Tensor, rebuilt: Tensor, gate: Gate) -> float:
    """The mean difference of the sub-block that differs most, in grey levels of 255.

    Args:
        original, rebuilt: uint8 ``[.., C, H, W]``; a gate without chroma is asked for luma only.
    """
    planes = 3 if gate.settings.chroma else 1
    difference = original.short().sub_(rebuilt).abs_()[..., :planes, :, :]
    side = gate.settings.sub_block
    blocks = difference.unflatten(-1, (-1, side)).unflatten(-3, (-1, side))
    return int(blocks.sum((-1, -3)).max()) / side**2


def largest_limit(gate: Gate) -> float:
    """What no sub-block's mean difference exceeds, in grey levels of 255."""
    doubled = 2 if gate.settings.noise == "adaptive" else 1
    return doubled * gate.settings.limit / gate.settings.sub_block**2
