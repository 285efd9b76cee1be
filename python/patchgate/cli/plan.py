"""The work of ``patchgate plan``: what a policy would look at, under a budget, and its costs."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from patchgate._check.text import nearest_first
from patchgate.cli.commands.models import Model
from patchgate.cli.commands.typed import as_usage_error
from patchgate.cli.grids import grid_of, reader_of, sized
from patchgate.cli.plan_lines import lines_of
from patchgate.decode import open_video
from patchgate.decode.source.access import AccessKwargs
from patchgate.decode.source.source import Source
from patchgate.gate import Gate
from patchgate.pipeline import spare_threads
from patchgate.policies import (
    POLICIES,
    Budget,
    Frames,
    Plan,
    container_frames,
    frame_statistics,
    pool,
)
from patchgate.policies.grids import Grid, Qwen
from patchgate.policies.named import Named
from patchgate.policies.video.kinds import plan_kinds
from patchgate.report.costs import RATES, CostMeter

_PIXELS = {"delta", "keep", "motion", "cut", "sharp"}  # what only decoding tells
_FILES = {
    "rel": "a query's score of each frame: --scores S.npy",
    "feat": "features of each frame: --features F.npy",
}


@dataclass(frozen=True)
class Job:
    """What was asked for."""

    video: str
    policy: str
    named: Named
    gate: Gate
    grid: str  # the value of --grid
    model: Model | None
    rounding: str
    options: dict[str, Any]  # of open_video
    frames: int | None
    tokens: int | None
    scores: Path | None
    features: Path | None
    strict: bool
    output: Path | None
    costs: bool
    command: str  # as typed


def planned(job: Job) -> tuple[dict[str, Any], dict[str, str]]:
    """Makes the plan; returns what --json prints, and the same in lines for people."""
    decode = bool(_PIXELS & set(job.named.needs))
    decode = decode and not (job.named.or_scores and job.scores is not None)
    source = Source(job.video)
    if decode or job.grid != "own" or job.output is not None:
        source.need_repeatable("this plan reads its video several times")
    gate, grid = _grids(job)
    with as_usage_error():
        budget = Budget(job.frames, job.tokens, grid)
    seen = _frames(job, gate, decode)
    if job.strict:  # said here, whatever Python's filters say of warnings
        warnings.filterwarnings("always", "strict=True", DeprecationWarning)
    chosen = job.named.run(seen, budget, **({"strict": True} if job.strict else {}))
    facts = _facts(job, budget, seen, chosen)
    counted = job.costs and source.seekable
    own = _of_plan(job, gate, grid, chosen) if counted else {}
    rates = None
    if job.output is not None:
        drawn, rates = _drawn(job, gate, chosen, facts, job.output)
        facts |= drawn
    if counted:
        facts["costs"] = (_of_rates(job, gate) if rates is None else rates) | {"plan": own}
    why = "this video can be read only once" if job.costs else "--no-costs was given"
    return facts, lines_of(facts, seen, chosen, why)


def policy_of(name: str, strict: bool) -> Named:
    """Returns the policy of this name.

    Raises:
        typer.BadParameter: there is none, or it is not for ``strict``.
    """
    if name not in POLICIES:
        listed = ", ".join(nearest_first(name, POLICIES))
        raise typer.BadParameter(
            f"--policy: expected one of {listed}; got {name!r} (--policies says what each does)"
        )
    if strict and not POLICIES[name].has_strict:
        having = ", ".join(n for n, p in POLICIES.items() if p.has_strict)
        raise typer.BadParameter(f"--strict: {name} has one way only; it is for {having}")
    return POLICIES[name]


def check_given(policy: str, named: Named, files: dict[str, Path | None]) -> None:
    """Checks, before the video is decoded, that the user gave what only a user can give."""
    for name in named.needs:
        if name in files and files[name] is None:
            raise typer.BadParameter(f"--policy: {policy} needs {_FILES[name]}")


def _grids(job: Job) -> tuple[Gate, Grid]:
    """Returns the gate with the size of its grid, and the grid that counts a budget's tokens."""
    if job.gate.size is not None:
        with as_usage_error():
            return job.gate, grid_of(job.grid, job.model, job.gate, None, job.rounding)
    with open_video(job.video, errors="ignore", **_opening(job.options)) as opened:
        gate = sized(job.gate, job.grid, opened, job.options)
        with as_usage_error():
            return gate, grid_of(job.grid, job.model, gate, opened, job.rounding)


def _of_plan(job: Job, gate: Gate, grid: Grid, chosen: Plan) -> dict[str, Any]:
    """Plays the plan's frames through the gate, and returns what they cost."""
    reader = reader_of(job.grid, job.model)
    if isinstance(grid, Qwen):  # the more frames, the smaller each is
        h, w = grid.cells(1.0, max(1, len(chosen)))
        gate = gate.fresh(size=(h * gate.settings.cell, w * gate.settings.cell))
    opening = _opening(job.options) | {name: job.options[name] for name in ("chunk", "threads")}
    every = container_frames(job.video, **_opening(job.options))
    once = chosen | chosen  # plans of --strict may have a frame twice
    kinds = plan_kinds(job.video, every, once, gate, errors="ignore", **opening)
    kept = sum(reader.kept(kind) for kind in kinds) if len(chosen) else 0
    share = None if reader.context is None else kept / reader.context
    return {"tokens": kept, "context_share": share}


def _of_rates(job: Job, gate: Gate) -> dict[str, Any]:
    """Plays the video at several rates through the gate, and returns what they cost."""
    reader = reader_of(job.grid, job.model)
    meter = CostMeter.of(gate, reader, (*RATES, None), job.options["fps"])
    opened = open_video(job.video, errors="ignore", **job.options)
    with opened as video, spare_threads(video.threads):
        for batch in video:
            meter.push(batch)
    return meter.costs().facts()


def _opening(options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options that limit what the video may be, and how long it may take."""
    return {name: options[name] for name in AccessKwargs.__annotations__}


def _frames(job: Job, gate: Gate, decode: bool) -> Frames:
    """Returns the candidates, with the gate's statistics of them if they are to be decoded."""
    options = job.options
    if decode:
        frames = frame_statistics(job.video, gate=gate, **options)
    else:
        frames = container_frames(job.video, **_opening(options))
        begin = frames.pts[0] if options["start"] is None else options["start"]
        end = torch.inf if options["end"] is None else options["end"]
        frames = frames.at(((frames.pts >= begin) & (frames.pts < end)).nonzero().flatten())
        if options["fps"] is not None:
            frames = frames.at(pool.at_rate(frames, options["fps"]))
    given = {"rel": job.scores, "feat": job.features}
    columns = {name: _array(path) for name, path in given.items() if path is not None}
    return Frames(**{**vars(frames), **columns})


def _array(path: Path) -> np.ndarray:
    try:
        # Mapped: a header may tell of more numbers than there are, or than there is memory for.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # numpy lets its parser's and zipfile's own errors through
        raise ValueError(f"{path}: not a numpy file of numbers: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: expected one array (.npy), got several (.npz)")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{path}: expected numbers, got an array of {array.dtype}")
    return array


def _facts(job: Job, budget: Budget, seen: Frames, chosen: Plan) -> dict[str, Any]:
    grid = budget.grid
    assert grid is not None
    columns = (chosen.index, chosen.pts, chosen.scale, chosen.ratio, chosen.clip, chosen.cost(grid))
    names = ("frame", "seconds", "scale", "ratio", "clip", "tokens")
    return {
        "video": job.video,
        "policy": job.policy,
        "candidates": len(seen),
        "frames": len(chosen),
        "tokens": chosen.tokens(grid),
        "budget_frames": budget.frames,
        "budget_tokens": budget.tokens,
        "full_frame": list(grid.cells(1.0, max(1, len(chosen)))),
        "chosen": [
            dict(zip(names, row, strict=True))
            for row in zip(*(column.tolist() for column in columns), strict=True)
        ],
        "costs": None,
        "output": None,
        "output_bytes": None,
    }


def _drawn(
    job: Job, gate: Gate, chosen: Plan, facts: dict[str, Any], page: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Writes the report; returns facts of it, and what it found that the rates cost."""
    # matplotlib: a quarter of a second that only this needs
    from patchgate.cli import inspection
    from patchgate.report.planned import Planned

    plan = Planned(job.policy, chosen, facts["tokens"], job.tokens)
    reader = reader_of(job.grid, job.model)
    drawing = inspection.Job(
        job.video, page, None, gate, job.options, [], job.command, job.grid, reader, plan
    )
    seen = inspection.inspect_video(drawing)
    return {name: seen[name] for name in ("output", "output_bytes")}, seen["costs"]
