"""Plays a video through the gate: the input, its reconstruction, and the error between them.

There are two passes. The first keeps a few numbers of each frame, by which ``history`` chooses the
moments to show. The second rebuilds the pictures and keeps only the chosen ones in memory.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, b c
sub-blocks.
"""

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from os import PathLike
from typing import Any, NamedTuple

import torch
from torch import Tensor

from patchgate.colour import Matrix, yuv_to_rgb
from patchgate.decode import FrameBatch, Video, open_video
from patchgate.gate import Gate
from patchgate.gather import PixelSpec
from patchgate.pipeline import StageSeconds, token_chunks
from patchgate.pipeline.features import Features, PixelFeatures
from patchgate.report.earlier import Earlier
from patchgate.report.history import Choice, OnChunk
from patchgate.tokens import TokenChunk, TokenLayout, layout_of, reconstruct


class Spot(NamedTuple):
    """The sub-block of a picture that differs most."""

    error: float  # mean difference, in grey levels of 255
    row: int  # of its top left pixel
    column: int


class Moment(NamedTuple):
    """One frame of the input, and its reconstruction from the tokens."""

    frame: int
    label: str
    pts_seconds: float
    original: Tensor  # [3, H, W] uint8 RGB, on the grid
    rebuilt: Tensor  # [3, H, W] uint8 RGB
    kind: Tensor  # [h, w] uint8
    motion: Tensor  # [h, w, 2] int8
    worst: Spot
    limit: float  # that the gate promised, in grey levels of 255

    @property
    def error(self) -> float:
        """The error of the sub-block that differs most, in grey levels of 255."""
        return self.worst.error


class Played(NamedTuple):
    """A chunk of the video, and its reconstruction from the tokens."""

    first: int  # frame (or tubelet) of the video
    chunk: TokenChunk
    originals: Tensor  # [T, f, C, H, W] uint8
    rebuilt: Tensor  # [T, f, C, H, W] uint8
    matrix: Matrix


class _Seen:
    """A video that holds the batches it yields until the tokens made of them are there.

    The pipeline runs a few batches ahead, so a few are held.
    """

    def __init__(self, video: Video) -> None:
        self.video, self.threads = video, video.threads
        self.batches: deque[FrameBatch] = deque()

    def __iter__(self) -> Iterator[FrameBatch]:
        for batch in self.video:
            self.batches.append(batch)
            yield batch

    def take(self, count: int) -> list[FrameBatch]:
        """Returns the next ``count`` frames; fewer at the end."""
        taken = []
        while count and self.batches:
            batch = self.batches.popleft()
            if len(batch) > count:
                self.batches.appendleft(_part(batch, count, len(batch)))
                batch = _part(batch, 0, count)
            taken.append(batch)
            count -= len(batch)
        return taken


def _part(batch: FrameBatch, start: int, stop: int) -> FrameBatch:
    y, cb, cr = (plane[start:stop] for plane in batch.planes)
    return FrameBatch(
        (y, cb, cr), batch.pts_seconds[start:stop], batch.duration_seconds[start:stop], batch.colour
    )


def side_by_side(
    video: Video,
    gate: Gate,
    stages: StageSeconds | None = None,
    features: Features | None = None,
) -> Generator[tuple[TokenChunk, list[FrameBatch]], None, None]:
    """Yields the pipeline's chunks, each with the T * f frames that it was made of (without frames
    that were repeated to fill the last tubelet). The video is decoded once for both.

    Args:
        video: an open video on the CPU.
        gate: a gate with a size, whose settings are used.
        stages, features: as ``token_chunks`` takes them.
    """
    seen = _Seen(video)
    with closing(token_chunks(seen, gate.fresh(), stages, features)) as chunks:
        for chunk in chunks:
            yield chunk, seen.take(len(chunk.kind) * gate.settings.temporal_patch)


def played(
    path: str | PathLike[str],
    gate: Gate,
    on_chunk: OnChunk | None = None,
    features: PixelFeatures | None = None,
    **open_options: Any,
) -> Generator[Played, None, None]:
    """Runs the gate over the video, a chunk at a time.

    Args:
        features: brings frames to the gate's grid; None: as the gate's ``fit`` says.
    """
    features = features or pixels_of(gate)
    f = gate.settings.temporal_patch
    first, before = 0, None
    with open_video(path, errors="ignore", **open_options) as video, Earlier() as earlier:
        matrix = video.colour.matrix
        layout = layout_of(gate, matrix)
        with closing(side_by_side(video, gate, None, features)) as chunks:
            for chunk, batches in chunks:
                planes = [features.to_grid(batch) for batch in batches]
                frames = sum(map(len, planes))
                planes += [planes[-1][-1:]] * (len(chunk.kind) * f - frames)
                originals = torch.cat(planes).unflatten(0, (-1, f))
                known = earlier.completed(chunk) if gate.settings.memory else chunk
                pictures = rebuilt(known, layout, before)
                yield Played(first, chunk, originals, pictures, matrix)
                first, before = first + len(pictures), pictures[-1]
                if on_chunk is not None:
                    on_chunk(chunk)


def moments(
    path: str | PathLike[str],
    gate: Gate,
    choices: list[Choice],
    features: PixelFeatures | None = None,
    **open_options: Any,
) -> Iterator[Moment]:
    """Plays the video again up to the last of the chosen frames, which must rise."""
    wanted = deque(choices)
    with closing(played(path, gate, features=features, **open_options)) as parts:
        for part in parts:
            while wanted and wanted[0].frame < part.first + len(part.rebuilt):
                yield moment_of(part, wanted.popleft(), gate)
            if not wanted:
                return


def moment_of(part: Played, choice: Choice, gate: Gate) -> Moment:
    """Makes the moment of a frame of the chunk (of a tubelet, of its first frame)."""
    at = choice.frame - part.first
    original, picture = part.originals[at, 0], part.rebuilt[at, 0]  # [C, H, W]
    return Moment(
        choice.frame,
        choice.label,
        float(part.chunk.pts_seconds[at]),
        yuv_to_rgb(original, part.matrix),
        yuv_to_rgb(picture, part.matrix),
        part.chunk.kind[at],
        part.chunk.motion[at],
        worst_spot(original, picture, gate),
        largest_limit(gate),
    )


def pixels_of(gate: Gate, spec: PixelSpec | None = None) -> PixelFeatures:
    """Returns what brings frames to the grid of a gate with a size.

    Args:
        spec: that of a tower, whose processor places the pictures; None: the gate's ``fit`` does.
    """
    assert gate.size is not None
    return PixelFeatures(gate.settings, gate.size, spec=spec)


def display_aspect(video: Video, gate: Gate, features: PixelFeatures | None = None) -> float:
    """Returns the width / height at which the gate's grid has the video's proportions."""
    down, across = (features or pixels_of(gate)).place(video.height, video.width)
    width, height = (video.width * across.size / across.resized,
                     video.height * down.size / down.resized)  # fmt: skip
    return min(max(width / height, 0.4), 4.0)  # beyond, the page would be all margin


def rebuilt(chunk: TokenChunk, layout: TokenLayout, before: Tensor | None) -> Tensor:
    """Rebuilds the pictures of a chunk, ``[T, f, C, H, W]``, from tokens and the picture before."""
    return reconstruct.planes(chunk, layout, before).unflatten(0, (-1, layout.temporal_patch))


def sub_block_errors(one: Tensor, other: Tensor, gate: Gate) -> Tensor:
    """Sums up the differences of every sub-block, ``[.., b, c]`` int32, and takes the worst plane.

    Args:
        one, other: uint8 ``[.., C, H, W]``; for a gate without chroma only luma is compared.
    """
    planes, side = 3 if gate.settings.chroma else 1, gate.settings.sub_block
    one, other = one[..., :planes, :, :], other[..., :planes, :, :]
    difference = torch.maximum(one, other).sub_(torch.minimum(one, other))
    rows = difference.unflatten(-2, (-1, side)).sum(-2, dtype=torch.int32)  # [.., C, b, W]
    return rows.unflatten(-1, (-1, side)).sum(-1, dtype=torch.int32).amax(-3)


def worst_spot(original: Tensor, picture: Tensor, gate: Gate) -> Spot:
    """Finds the sub-block in which two pictures ``[C, H, W]`` differ most."""
    errors, side = sub_block_errors(original, picture, gate), gate.settings.sub_block
    row, column = divmod(int(errors.argmax()), errors.shape[1])
    return Spot(int(errors.max()) / side**2, row * side, column * side)


def largest_error(original: Tensor, rebuilt: Tensor, gate: Gate) -> float:
    """Returns the mean difference of the sub-block that differs most, in grey levels of 255.

    Args:
        original, rebuilt: uint8 ``[.., C, H, W]``.
    """
    return int(sub_block_errors(original, rebuilt, gate).max()) / gate.settings.sub_block**2


def largest_limit(gate: Gate) -> float:
    """Returns the largest mean difference that a sub-block may have, in grey levels of 255."""
    doubled = 2 if gate.settings.noise == "adaptive" else 1
    return doubled * gate.settings.limit / gate.settings.sub_block**2
