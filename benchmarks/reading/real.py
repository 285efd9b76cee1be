"""A real screen recording at its full rate: what PP-OCR reads from the tokens, and from the video.

There is no truth here but what PP-OCR reads with confidence from the dense frame.

Letters: T frames, H W pixels, h w cells.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import THREADS
from peers import rlt
from peers.pixels import by_pairs
from torch import Tensor

from patchgate import Gate, open_video
from patchgate.colour import Matrix, yuv_to_rgb
from patchgate.grid import to_grid
from reading.known import Known
from reading.looks import distance, fair
from reading.methods import Trace
from reading.readers import Pictures
from reading.readers.ocr import Reading, Recogniser, cut
from reading.truth import Box

VIDEO = "screencast_gh-scoped-creds.mp4"  # looked for in PATCHGATE_CLIPS
SHORTEST = 3  # characters of a string that is asked about
SURE = 0.9  # PP-OCR's confidence in it
THRESHOLDS = (4, 2, 6, 8)  # of our gate; the first is the default
TAU = 0.1  # of the adjacent gate: RLT's own


@dataclass(frozen=True)
class Recording:
    """Part of a video on the grid."""

    planes: Tensor  # uint8 [T, 3, H, W]: Y, Cb, Cr of full range
    matrix: Matrix
    fps: float

    def rgb(self, frame: int) -> Tensor:
        """``[3, H, W]`` uint8."""
        return yuv_to_rgb(self.planes[frame], self.matrix)


@dataclass(frozen=True)
class Line:
    """A string on the screen."""

    frame: int
    box: Box
    text: str  # as read from the dense frame


def rows(
    video: Path, *, start: float = 0.0, seconds: float = 20.0, samples: int = 30, seed: int = 0
) -> list[dict[str, Any]]:
    """One row per method: strings and characters that survive, and tokens a second."""
    recording = load(video, start, seconds)
    recogniser = Recogniser()
    lines = dense_lines(recording, sampled(recording, samples, seed), recogniser)
    found = []
    for name, trace in traces(recording):
        known = Known(recording, trace, {line.frame for line in lines})
        read = _read(recogniser, known, lines)
        wrong = sum(distance(line.text, r.text) for line, r in zip(lines, read, strict=True))
        length = sum(len(line.text) for line in lines)
        found.append({
            "video": video.name, "start": start, "seconds": len(recording.planes) / recording.fps,
            "grid": list(recording.planes.shape[2:]), "method": name, "strings": len(lines),
            "equal": sum(line.text == r.text for line, r in zip(lines, read, strict=True)),
            "characters": length, "characters_right": max(0, length - wrong),
            "tokens_per_second": trace.tokens * recording.fps / len(recording.planes),
            "kept_share": trace.tokens / trace.kind.numel(),
        })  # fmt: skip
    return found


def load(video: Path, start: float, seconds: float) -> Recording:
    """At half its size, rounded to whole cells: text of a screen is still read at that."""
    cell = Gate().settings.cell
    with open_video(video, start=start, end=start + seconds, threads=THREADS) as opened:
        height, width = (cell * round(side / 2 / cell) for side in (opened.height, opened.width))
        matrix, fps = opened.colour.matrix, opened.average_fps
        planes = torch.cat([to_grid(batch, (height, width)) for batch in opened])
    return Recording(planes, matrix, fps)


def sampled(recording: Recording, samples: int, seed: int) -> list[int]:
    """Random frames that no uniform sampling takes."""
    able = [t for t in range(len(recording.planes)) if fair(t, round(recording.fps))]
    rng = np.random.default_rng(np.random.SeedSequence([*b"real", seed]))
    return sorted(rng.choice(able, min(samples, len(able)), replace=False).tolist())


def traces(recording: Recording) -> Iterator[tuple[str, Trace]]:
    """What our gate and the adjacent one keep."""
    for threshold in THRESHOLDS:
        result = Gate(threshold=threshold).push(recording.planes)
        yield f"patchgate, threshold {threshold}", Trace(result.kind, result.motion)
    yield f"adjacent (RLT), tau {TAU}", Trace.of(_differences(recording) > TAU)


def _differences(recording: Recording) -> Tensor:
    """RLT's, ``[T, h, w]``; some frames at a time, for a screen's are large."""

    def of(chunk: Tensor) -> Tensor:
        rgb = yuv_to_rgb(chunk, recording.matrix)
        return rlt.differences(rgb, Gate().settings.cell)[1:]

    return by_pairs(recording.planes, of)


def dense_lines(recording: Recording, frames: Sequence[int], recogniser: Recogniser) -> list[Line]:
    """What PP-OCR finds in some frames and is sure of."""
    from rapidocr import RapidOCR  # sets up logging when it is imported

    detector = RapidOCR(params={
        "Global.log_level": "critical", "EngineConfig.onnxruntime.intra_op_num_threads": THREADS,
    })  # fmt: skip
    lines = []
    for frame in frames:
        bgr = recording.rgb(frame).flip(0).permute(1, 2, 0).numpy()
        boxes = detector(bgr, use_det=True, use_cls=False, use_rec=False).boxes  # [n, 4, 2]
        for corners in () if boxes is None else boxes:
            box = (*corners.min(0).tolist(), *corners.max(0).tolist())
            lines.append(Line(frame, box, ""))
    read = _read(recogniser, recording, lines)
    return [
        Line(line.frame, line.box, r.text)
        for line, r in zip(lines, read, strict=True)
        if r.confidence > SURE and len(r.text) >= SHORTEST
    ]


def _read(recogniser: Recogniser, pictures: Pictures, lines: Sequence[Line]) -> list[Reading]:
    """The detector's boxes have a margin of their own."""
    return recogniser.read([cut(pictures.rgb(each.frame), each.box, 0.0) for each in lines])
