"""The command corpus: thousands of videos become files of tokens and an index, and it goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from patchgate.cli.commands import Json, app
from patchgate.cli.corpus_meter import CorpusMeter, end_lines, estimate_lines, facts, plan_lines
from patchgate.cli.encode import TOWER
from patchgate.cli.options import GateOptions, LimitOptions, as_usage_error, spread
from patchgate.cli.signals import Stop
from patchgate.cli.terminal import reported, result, say
from patchgate.cli.towers import TowerOptions, check_tower
from patchgate.corpus import index
from patchgate.corpus.engines.pool import WorkerFailed
from patchgate.corpus.estimate import estimate
from patchgate.corpus.inputs import MANIFESTS, LeftOut, entries
from patchgate.corpus.job import Job
from patchgate.corpus.running import EngineName, How, default_workers, do
from patchgate.corpus.settings import Settings, TokenFormat
from patchgate.decode.source.formats import EXTENSIONS
from patchgate.decode.source.source import usable_cpus

_AGAIN, _HOW = "What is done again", "How it is done"
_INPUTS = (
    "Files; folders, of which files with these extensions are taken: "
    f"{', '.join(EXTENSIONS)}; patterns such as 'videos/**/*.mp4'; manifests "
    f"({', '.join(MANIFESTS)}) with a column path and perhaps start, end (seconds) and id."
)
_WRONG_CALL = 2


@dataclass(frozen=True)
class CorpusOptions(LimitOptions):
    """The options of the command corpus alone."""

    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, max=1024, rich_help_panel=_HOW,
                     help="Processes, each with a video of its own; 0: this one alone.",
                     show_default="half of the CPUs"),
    ] = None  # fmt: skip
    engine: Annotated[
        str,
        typer.Option("--engine", metavar="|".join(get_args(EngineName)), rich_help_panel=_HOW,
                     help="Processes on this machine, or actors of Ray Data."),
    ] = "pool"  # fmt: skip
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="auto|ray://HOST:PORT", rich_help_panel=_HOW,
                     help="With --engine ray: that of a cluster.", show_default="one begun here"),
    ] = None  # fmt: skip
    gpus: Annotated[
        float,
        typer.Option("--gpus-per-worker", min=0, rich_help_panel=_HOW,
                     help="With --engine ray and --device cuda: GPUs of each worker."),
    ] = 0  # fmt: skip
    fps: Annotated[
        float | None,
        typer.Option("--fps", help="Look at so many frames a second.", rich_help_panel=_HOW,
                     show_default="every frame"),
    ] = None  # fmt: skip
    span_frames: Annotated[
        int | None,
        typer.Option("--span-frames", min=2, rich_help_panel=_HOW, show_default="off",
                     help="Do longer videos in spans of about so many frames, by all workers."),
    ] = None  # fmt: skip
    chunk: Annotated[
        int,
        typer.Option("--chunk", min=1, rich_help_panel=_HOW,
                     help="Frames that a worker holds at once; the result is the same."),
    ] = 16  # fmt: skip
    threads: Annotated[
        int,
        typer.Option("--threads", min=1, max=256, rich_help_panel=_HOW,
                     help="Threads of each worker's decoder."),
    ] = 1  # fmt: skip
    device: Annotated[
        str,
        typer.Option("--device", metavar="cpu|cuda|cuda:N", rich_help_panel=_HOW,
                     help="Where videos are decoded, and the tower computes."),
    ] = "cpu"  # fmt: skip
    format: Annotated[
        str,
        typer.Option("--format", metavar="|".join(get_args(TokenFormat)), rich_help_panel=_HOW,
                     help="The form of the tokens: exact and mapped (safetensors), or float16 for "
                     "other tools."),
    ] = "safetensors"  # fmt: skip
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=0, rich_help_panel=_AGAIN, show_default="all",
                     help="Do at most so many videos now."),
    ] = None  # fmt: skip
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", rich_help_panel=_AGAIN,
                     help="Only say what would be done, and how much it is."),
    ] = False  # fmt: skip
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", rich_help_panel=_AGAIN,
                     help="Do videos again that failed and did not change since."),
    ] = False  # fmt: skip
    redo: Annotated[
        bool,
        typer.Option("--redo", rich_help_panel=_AGAIN,
                     help="Do videos again that were done with other settings or another model."),
    ] = False  # fmt: skip

    def how(self) -> How:
        """Returns which engine does the job."""
        workers = default_workers() if self.workers is None else self.workers
        return How(self.engine, workers, self.address, self.gpus).check()  # type: ignore[arg-type]


@app.command()
@spread
def corpus(
    context: typer.Context,
    input: Annotated[list[str], typer.Argument(metavar="INPUT...", help=_INPUTS,
                                               show_default=False)],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT", show_default=False,
                     help="The folder to write: a new or empty one, or that of an earlier call."),
    ],
    own: CorpusOptions,
    gate: GateOptions,
    model: TowerOptions,
    tower: Annotated[
        str | None,
        typer.Option("--tower", metavar="NAME|FOLDER", help=TOWER, show_default="tokens are "
                     "the cells' own pixels"),
    ] = None,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Turn thousands of videos into files of tokens and an index, and go on where it ended.

    The same command again does only what is missing or changed. A video that cannot be read is in
    the index with the reason, and the job goes on. Ctrl-C or a kill loses only the videos in hand.
    Exit codes: 0 all are done, 1 some failed now or before, 2 a wrong call, 130 interrupted.
    """
    with as_usage_error():
        check_tower(context, tower, model)
        settings = _settings(own, gate, tower, model)
    left_out = LeftOut()
    with Stop() as stop, reported(stop):
        with stop.opening(), _wrong_call():
            own.how().need()
            job = Job(output, entries(input, left_out), settings,
                      retry_failed=own.retry_failed, redo=own.redo, limit=own.limit,
                      dry=own.dry_run)  # fmt: skip
        with job:
            if left_out:
                say("warning", left_out)
            if own.dry_run:
                with stop.opening(), _wrong_call():
                    return _foretold(job, settings, str(output), as_json)
            return _worked(job, settings, own, stop, as_json)


def _settings(
    own: CorpusOptions, gate: GateOptions, tower: str | None, model: TowerOptions
) -> Settings:
    return Settings(
        gate=gate.gate().settings, tower=tower, dtype=model.dtype, save_dtype=model.save_dtype,
        tolerance=model.tolerance, fps=own.fps, chunk=own.chunk, threads=own.threads,
        span_frames=own.span_frames, save_as=own.format, limits=own.limits(), device=own.device,  # type: ignore[arg-type]
        torch_threads=max(1, usable_cpus() // max(1, own.how().workers)),
    )  # fmt: skip


def _foretold(job: Job, settings: Settings, output: str, as_json: bool) -> dict[str, Any]:
    plan = job.progress.plan
    found = estimate(job.journal, settings, plan.chosen)
    told = {**plan._asdict(), **found._asdict()}
    result(told, plan_lines(plan) | estimate_lines(found), output, as_json)
    return told


def _worked(
    job: Job, settings: Settings, own: CorpusOptions, stop: Stop, as_json: bool
) -> dict[str, Any]:
    stop.leaves = "what is done is kept: the same command goes on"
    with CorpusMeter(job.progress.plan) as meter, _wrong_call((WorkerFailed,)):
        done = do(job, settings, own.how(), meter.show, lambda: stop.asked_by is not None)
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
