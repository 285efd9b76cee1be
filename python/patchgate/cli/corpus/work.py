"""Does a corpus at the terminal: what it says while it works and at its end, and its exit codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from patchgate.cli.commands.corpus_options import CorpusOptions
from patchgate.cli.commands.tower_options import TowerOptions
from patchgate.cli.corpus.meter import CorpusMeter, end_lines, estimate_lines, facts, plan_lines
from patchgate.cli.signals import Stop
from patchgate.cli.terminal import reported, result, say
from patchgate.corpus import index
from patchgate.corpus.engines.pool import WorkerFailed
from patchgate.corpus.estimate import estimate
from patchgate.corpus.inputs import LeftOut, entries
from patchgate.corpus.job import Job
from patchgate.corpus.running import How, default_workers, do
from patchgate.corpus.settings import Settings
from patchgate.decode.source.source import usable_cpus
from patchgate.gate import Gate

_WRONG_CALL = 2


@dataclass(frozen=True)
class Call:
    """What was asked for."""

    inputs: list[str]
    output: Path
    own: CorpusOptions
    how: How
    settings: Settings


def how_of(own: CorpusOptions) -> How:
    """Returns which engine does the job."""
    workers = default_workers() if own.workers is None else own.workers
    return How(own.engine, workers, own.address, own.gpus).check()  # type: ignore[arg-type]


def settings_of(
    own: CorpusOptions, gate: Gate, grid: str, tower: str | None, model: TowerOptions
) -> Settings:
    """Returns what is done with every video.

    Raises:
        TypeError, ValueError: an option is out of its range, or the grid is not the same for all.
    """
    if gate.size is None and tower is None:
        raise ValueError(
            f"--grid {grid}: the size of its frames depends on each video, and a corpus has one "
            "for all; give --size, --patch, --merge and --temporal-patch instead"
        )
    return Settings(
        gate=gate.settings, tower=tower, dtype=model.dtype, save_dtype=model.save_dtype,
        tolerance=model.tolerance, fps=own.fps, chunk=own.chunk, threads=own.threads,
        span_frames=own.span_frames, save_as=own.format, limits=own.limits(), device=own.device,  # type: ignore[arg-type]
        torch_threads=max(1, usable_cpus() // max(1, how_of(own).workers)),
    )  # fmt: skip


def done(call: Call, as_json: bool) -> dict[str, Any]:
    """Does the job, or says what it would be; returns the facts.

    Raises:
        typer.Exit: with the exit code, if it is not 0.
    """
    own, settings, left_out = call.own, call.settings, LeftOut()
    with Stop() as stop, reported(stop):
        with stop.opening(), _wrong_call():
            call.how.need()
            job = Job(call.output, entries(call.inputs, left_out), settings,
                      retry_failed=own.retry_failed, redo=own.redo, limit=own.limit,
                      dry=own.dry_run)  # fmt: skip
        with job:
            if left_out:
                say("warning", left_out)
            if own.dry_run:
                with stop.opening(), _wrong_call():
                    return _foretold(job, settings, str(call.output), as_json)
            return _worked(job, settings, call.how, stop, as_json)


def _foretold(job: Job, settings: Settings, output: str, as_json: bool) -> dict[str, Any]:
    plan = job.progress.plan
    found = estimate(job.journal, settings, plan.chosen)
    told = {**plan._asdict(), **found._asdict()}
    result(told, plan_lines(plan) | estimate_lines(found), output, as_json)
    return told


def _worked(job: Job, settings: Settings, how: How, stop: Stop, as_json: bool) -> dict[str, Any]:
    stop.leaves = "what is done is kept: the same command goes on"
    with CorpusMeter(job.progress.plan) as meter, _wrong_call((WorkerFailed,)):
        done = do(job, settings, how, meter.show, lambda: stop.asked_by is not None)
    at = str(job.journal.folder / index.NAME)
    told = facts(done, at)
    if done.stopped:
        say("interrupted", f"{done.left:,} of {done.plan.videos:,} videos are left: the same "
            "command goes on")  # fmt: skip
    result(told, end_lines(done, at), str(job.journal.folder), as_json)
    if code := stop.exit_code or done.exit_code:
        raise typer.Exit(code)
    return told


_BEFORE = (ValueError, TypeError, OSError, ImportError)


@contextmanager
def _wrong_call(kinds: tuple[type[Exception], ...] = _BEFORE) -> Iterator[None]:
    """Turns errors before the work into a line and exit code 2: 1 says that videos failed."""
    try:
        yield
    except kinds as error:
        say("error", error)
        raise typer.Exit(_WRONG_CALL) from error
