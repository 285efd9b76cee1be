"""What tokenize and embed do with one video: tokens, or one vector a frame, as a file."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchgate.cli.job import Job, until_asked
from patchgate.cli.several import Facts
from patchgate.cli.terminal import bytes_text
from patchgate.corpus.writing import TokenWriter
from patchgate.encoders.named import DTYPES
from patchgate.gate import GateSettings
from patchgate.pipeline import StageSeconds
from patchgate.pipeline.embedding import own_pool, prepared_vectors
from patchgate.report import costs
from patchgate.report.costs import CostMeter
from patchgate.report.history import counted
from patchgate.tokens.vectors import VectorSpill

# --- tokenize ---------------------------------------------------------------------------------


def tokenized(job: Job, path: str, target: Path) -> Facts:
    """Writes the tokens of one video, and returns the facts of it."""
    begin, stages, saved = time.perf_counter(), StageSeconds(), DTYPES[job.model.saved]
    with (
        job.opened(path) as (video, described, own),
        TokenWriter(target, video, job.tower, own, described, saved=saved,
                    replace=job.force) as writer,
    ):  # fmt: skip
        gate, features, spending = writer.gate, writer.features, None
        if job.reader is not None:
            fps = job.options["fps"]
            spending = CostMeter(gate, features.to_grid, job.reader, until_fps=fps)
        with job.meter(video, "tokenize") as meter:
            for chunk in until_asked(job, video, gate, features, stages, meter, spending):
                with stages.time("write"):
                    writer.add(chunk)
        facts = job.finish(writer.out, path, meter, gate, stages, begin)
    return facts | {
        "tokens": writer.out.tokens,
        "dense_tokens": meter.cells,
        "features": [writer.width, str(writer.dtype).removeprefix("torch.")],
        "costs": None if spending is None else spending.costs().facts(),
    }


def tokenize_lines(facts: Mapping[str, Any]) -> dict[str, str]:
    """Puts the facts of a video's tokens in lines for people."""
    width, dtype = facts["features"]
    whose = "the cells' own pixels (--tower gives a model's features)"
    if facts["tower"] is not None:
        whose = f"{width} {dtype} numbers a token, of {facts['tower']}"
    return {
        **_frames_line(facts),
        "tokens": f"{facts['tokens']:,} of {facts['dense_tokens']:,}: "
        f"{facts['kept_share']:.2%} kept",
        **({} if facts["costs"] is None else costs.lines_of(facts["costs"])),
        "features": whose,
        **_file_lines(facts),
    }


# --- embed ------------------------------------------------------------------------------------


def embedded(job: Job, path: str, target: Path) -> Facts:
    """Writes the vectors of one video, and returns the facts of it."""
    assert job.tower is not None
    assert job.pool is not None
    begin, stages, saved = time.perf_counter(), StageSeconds(), DTYPES[job.model.saved]
    with job.opened(path) as (video, described, own):
        pool = own_pool(job.tower, job.pool)
        gate, vectors = prepared_vectors(video, job.tower, own.fresh(), pool, job.model.tolerance)
        empty = vectors.no_vectors().to("cpu", saved)
        with VectorSpill(target, empty, described, job.force) as out:
            with job.meter(video, "embed") as meter:
                for chunk in until_asked(job, video, gate, vectors, stages, meter):
                    features = vectors.vectors.to("cpu", saved)
                    with stages.time("write"):
                        out.add(features, chunk.pts_seconds)
            facts = job.finish(out, path, meter, gate, stages, begin)
    dtype = str(empty.dtype).removeprefix("torch.")
    return facts | {"pool": pool, "features": [empty.shape[1], dtype]}


def embed_lines(facts: Mapping[str, Any]) -> dict[str, str]:
    """Puts the facts of a video's vectors in lines for people."""
    width, dtype = facts["features"]
    return {
        **_frames_line(facts),
        "vectors": f"one a frame ({facts['pool']}), {width} {dtype} numbers each, of "
        f"{facts['tower']}",
        "kept": f"{facts['kept_share']:.2%} of the cells",
        **_file_lines(facts),
    }


def _frames_line(facts: Mapping[str, Any]) -> dict[str, str]:
    h, w = facts["cells"]
    frames = counted(facts["frames"], facts["gate"]["temporal_patch"])
    return {"video": f"{frames}, {h} x {w} cells each"}


def _file_lines(facts: Mapping[str, Any]) -> dict[str, str]:
    settings = GateSettings(**facts["gate"])
    pictures = settings.memory or 0
    each = bytes_text(pictures * settings.picture_bytes(*facts["cells"]))
    memory = {"memory": f"{pictures} earlier pictures, {each} in all"} if pictures else {}
    stages = ", ".join(f"{name} {spent:.2f}" for name, spent in facts["seconds"].items())
    return {
        **memory,
        "speed": f"{facts['frames_per_second']:,.0f} frames/s",
        "seconds": stages,
        "size": bytes_text(facts["output_bytes"]),
        "file": facts["output"],
    }
