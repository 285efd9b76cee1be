"""``run``: a corpus of videos becomes files of tokens and an index, and goes on where it ended."""

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Literal, NamedTuple, Self, Unpack, get_args

from patchgate._check import checked_choice, checked_count, checked_number
from patchgate._signature import spelled
from patchgate.corpus.engines.pool import Pool, WorkerFailed
from patchgate.corpus.engines.ray_data import RayEngine
from patchgate.corpus.engines.units import Result, Units
from patchgate.corpus.inputs import LeftOut, entries
from patchgate.corpus.job import Job, Progress
from patchgate.corpus.journal import Task
from patchgate.corpus.needs import needed
from patchgate.corpus.settings import Settings, TokenFormat
from patchgate.corpus.tokenizer import settled
from patchgate.corpus.worker import Worker
from patchgate.decode import Limits
from patchgate.decode.limits import DEFAULT_LIMITS
from patchgate.decode.source.source import usable_cpus
from patchgate.gate import Gate, GateSettings
from patchgate.gate.settings import GEOMETRY, GateRules

EngineName = Literal["pool", "ray"]


class Here:
    """Does the tasks in this process, one after the other."""

    def __init__(self, job: Job, settings: Settings, asked: Callable[[], bool]) -> None:
        self._job, self._settings, self._asked = job, settings, asked

    def results(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Result], None, None]:
        """Yields each task with its result."""
        worker, units = None, Units(self._job.journal.folder)
        for task in tasks:
            worker = worker or self._begun()
            left = [units.whole(task)]
            while left:  # several, if it is long
                unit = left.pop(0)
                more, result = units.came(unit, worker.do(unit.told))
                left += more
                if result is not None:
                    yield task, result
                    break
            if self._asked():
                return

    def _begun(self) -> Worker:
        try:
            return Worker(self._job.journal.folder, self._settings, self._job.model)
        except (ValueError, OSError, ImportError) as error:  # of the tower
            raise WorkerFailed(str(error)) from error


def default_workers() -> int:
    """Returns half of the CPUs: a worker decodes in one thread, and gates in another."""
    return max(1, usable_cpus() // 2)


@spelled(GateSettings, leave_out=GEOMETRY)
def run(
    inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    tower: str | None = None,
    gate: Gate | None = None,
    size: int | tuple[int, int] | None = None,
    workers: int | None = None,
    engine: EngineName = "pool",
    address: str | None = None,
    gpus: float = 0,
    fps: float | None = None,
    dtype: str = "float32",
    save_dtype: str | None = None,
    tolerance: float | None = None,
    save_as: TokenFormat = "safetensors",
    span_frames: int | None = None,
    chunk: int = 16,
    threads: int = 1,
    limits: Limits = DEFAULT_LIMITS,
    device: str = "cpu",
    limit: int | None = None,
    retry_failed: bool = False,
    redo: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    **rules: Unpack[GateRules],
) -> Progress:
    """Turns every video of a corpus into a file of tokens, and writes an index of them.

    It goes on where an earlier call ended, however it ended: only videos are done that are new, or
    whose files changed. docs/corpus.md says what is written, and what an end in the middle leaves.
    ``patchgate corpus`` at the command line does the same.

    Args:
        inputs: files, folders (of which files are taken by their extensions), patterns such as
            ``videos/**/*.mp4``, and manifests (Parquet, CSV, JSON lines) with a column ``path`` and
            perhaps ``start``, ``end`` (seconds) and ``id``.
        out: the folder to write; a new or empty one, or that of an earlier call.
        tower: a folder that ``save_pretrained`` wrote, or a model of timm or of the Hugging Face
            hub. None: tokens are the cells' own pixels.
        gate: its settings are used. None: the defaults, with the rules that are given here. A
            tower's geometry is its own.
        size: ``(H, W)`` of the grid in pixels, without a tower; None: 378 x 378.
        workers: processes that work at once, each with a video of its own; 0: this process alone.
            None: half of the CPUs.
        engine: "pool", processes on this machine; or "ray": actors of Ray Data.
        address: with "ray", that of a cluster, such as "auto"; None: Ray is begun here.
        gpus: with "ray", the GPUs of each worker; give ``device="cuda"``, too.
        fps: the number of frames a second to look at; None: every frame.
        dtype, save_dtype: the numbers that the tower computes with, and those of its features in
            the file (None: the same): "float32", "float16" or "bfloat16".
        tolerance: as of ``gated``; None: its default.
        save_as: the form of the tokens: see docs/corpus.md.
        span_frames: longer videos are done in spans of about so many frames, by all workers, and
            their tokens joined; every span begins with a frame of which all cells are tokens.
            None: every video as a whole.
        chunk, threads, limits: as of ``open_video``, for each worker.
        device: "cpu"; or "cuda", "cuda:1" and so on, to decode and compute on a GPU.
        limit: the most videos to do in this call.
        retry_failed: do videos again that failed and did not change since.
        redo: do videos again that were done with other settings or another model.
        on_progress: is called with the progress after every video.
        rules: the gate's rules, such as ``threshold`` (see ``Gate``), if no gate is given.

    Returns:
        ``Progress``, with ``exit_code``: 0 if all are done, 1 if some failed now or before.

    Raises:
        ImportError: pyarrow, Ray, or what the tower needs is not installed.
        ValueError, TypeError: an input is not there; an option is out of its range; ``out`` has
            other contents; another job writes there (``Busy``); videos were done with other
            settings (``OtherSettings``).
        OSError: the disk is full, or ``out`` cannot be written to. What is done is kept.
        RuntimeError: a worker could not begin.
        KeyboardInterrupt: Ctrl-C; only the videos in hand are lost.
    """
    count = default_workers() if workers is None else workers
    how = How(engine, count, address, gpus).check()
    settings = Settings(
        gate=settled("run", gate, size, rules), tower=tower, dtype=dtype, save_dtype=save_dtype,
        tolerance=tolerance, fps=fps, save_as=save_as, span_frames=span_frames, chunk=chunk,
        threads=threads, limits=limits, device=device,
        torch_threads=max(1, usable_cpus() // max(1, how.workers)),
    )  # fmt: skip
    given = [inputs] if isinstance(inputs, str | os.PathLike) else inputs
    found = entries([os.fspath(each) for each in given], LeftOut())
    limit = None if limit is None else checked_count("limit", limit, 0)
    how.need()
    with Job(out, found, settings, retry_failed=retry_failed, redo=redo,
             limit=limit) as job:  # fmt: skip
        return do(job, settings, how, on_progress or (lambda progress: None), lambda: False)


class How(NamedTuple):
    """Which engine does a job; ``run`` says what each field is."""

    engine: EngineName = "pool"
    workers: int = 1
    address: str | None = None
    gpus: float = 0

    def check(self) -> Self:
        """Returns it, with numbers of Python's own. Raises for what does not fit together."""
        engine = checked_choice("engine", self.engine, get_args(EngineName))
        if engine == "pool" and (self.address, self.gpus) != (None, 0):
            raise ValueError("address, gpus: they belong to engine='ray'")
        workers = checked_count("workers", self.workers, int(engine == "ray"))
        gpus = checked_number("gpus", self.gpus, 0, 1024, "GPUs of a worker")
        return self._replace(engine=engine, workers=workers, gpus=gpus)

    def need(self) -> None:
        """Raises an ``ImportError`` if the engine is not installed."""
        if self.engine == "ray":
            needed("ray", "--engine ray", "data")


def do(
    job: Job,
    settings: Settings,
    how: How,
    told: Callable[[Progress], None],
    asked: Callable[[], bool],
) -> Progress:
    """Does a job; ``run`` documents the rest."""
    config = job.config(settings)
    if how.engine == "ray":
        with RayEngine(how.workers, config, address=how.address, gpus=how.gpus,
                       asked=asked) as engine:  # fmt: skip
            return job.work(engine, told, asked)
    if how.workers:
        with Pool(how.workers, config, asked) as pool:
            return job.work(pool, told, asked)
    return job.work(Here(job, settings, asked), told, asked)
