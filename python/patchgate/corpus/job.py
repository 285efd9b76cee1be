"""A job: plans what is to be done, does it with an engine, and keeps journal and index."""

import os
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from patchgate.corpus import index
from patchgate.corpus.engines.units import Result, sweep
from patchgate.corpus.forms import Lance, form_of
from patchgate.corpus.inputs import Entry
from patchgate.corpus.journal import Journal, Task
from patchgate.corpus.planning import OtherSettings, Plan, make_plan
from patchgate.corpus.settings import Settings, differences, model_of, text_of

_INDEX_SECONDS = 60.0  # the least time between two versions of the index
_INDEX_SHARE = 0.05  # the most of a job's time that is spent on writing it


class Engine(Protocol):
    """What does the tasks: a pool of processes, this process, or Ray Data."""

    def results(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Result], None, None]:
        """Yields each task with its result, as they are finished."""


@dataclass
class Progress:
    """What a call has done so far, of what its plan chose.

    Attributes:
        plan: see ``Plan``.
        done, failed, same: the videos that were tokenized, that failed, and whose contents had not
            changed.
        seconds: of video that were tokenized; ``cells`` and ``tokens`` of them.
        read_bytes: of the videos' files that are done with.
        took: seconds since the work began.
        stopped: whether somebody asked for an end.
        failures: the failed videos among all of this call, those of earlier calls, too.
        last: the video that was finished last, and what came of it.
    """

    plan: Plan
    done: int = 0
    failed: int = 0
    same: int = 0
    seconds: float = 0.0
    cells: int = 0
    tokens: int = 0
    written_bytes: int = 0
    read_bytes: int = 0
    stopped: bool = False
    failures: int = 0
    last: tuple[Task, Result] | None = None
    began: float = field(default_factory=time.perf_counter)
    took: float = 0.0

    @property
    def left(self) -> int:
        """The videos of the call that are not done and did not fail: after a limit or an end."""
        to_do = sum(count for count, _ in self.plan.reasons.values())
        return to_do - self.done - self.failed - self.same

    @property
    def exit_code(self) -> int:
        """0: all are done; 1: some failed now or before."""
        return int(self.failures > 0)

    def count(self, task: Task, result: Result) -> None:
        """Counts a result."""
        status = result["status"]
        self.last = task, result
        self.done += status == "ok"
        self.failed += status == "failed"
        self.same += status == "same"
        self.read_bytes += task.size or 0
        if status == "ok":
            self.seconds += result["seconds"]
            self.tokens += result["tokens"]
            self.cells += result["frames"] * result["cells_high"] * result["cells_wide"]
            self.written_bytes += result["bytes"]
        self.took = time.perf_counter() - self.began


class Job:
    """One call: the journal is open and the plan made. Use it in a ``with`` statement.

    Args:
        out: the corpus's folder.
        found: the videos.
        settings: what is done with every one.
        retry_failed, redo: whether videos are done again that failed, or that were done with other
            settings.
        limit: the most videos to do; None: all.
        dry: nothing is written, and ``work`` must not be called.

    Raises:
        Busy, OtherSettings, ValueError, OSError: see ``Journal``, ``make_plan``.
        ImportError: pyarrow is not installed.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        found: Iterable[Entry],
        settings: Settings,
        *,
        retry_failed: bool = False,
        redo: bool = False,
        limit: int | None = None,
        dry: bool = False,
    ) -> None:
        index.schema()  # before any work: pyarrow is there
        self._form = form_of(settings.save_as)
        self._form.check()
        self.journal = Journal(out, dry=dry)
        try:
            with self._transaction():
                known = self.journal.told("model files") or {}
                self.model, files = model_of(settings.tower, known)
                self.identity = settings.identity(self.model)
                self._settings = text_of(self.identity)
                plan = make_plan(self.journal, found, self._settings, self._form,
                                 retry_failed=retry_failed, limit=limit)  # fmt: skip
                redo = redo or self.journal.told("redo") == self.identity  # said before
                self._check_settings(plan, redo or dry)
                self.journal.tell("model files", files)
                self.journal.tell("settings", self.identity)
                self.journal.tell("redo", self.identity if redo else None)
        except BaseException:
            self.journal.abandon()
            raise
        self.progress = Progress(plan, failures=self.journal.failures())

    @contextmanager
    def _transaction(self, durable: bool = True) -> Iterator[None]:
        self.journal.begin(durable)
        try:
            yield
        except BaseException:
            self.journal.roll_back()
            raise
        self.journal.commit()

    def _check_settings(self, plan: Plan, redo: bool) -> None:
        again, size = plan.reasons.get("settings", (0, 0))
        before = self.journal.told("settings")
        if before is not None and before["save_as"] != self.identity["save_as"]:
            raise OtherSettings(
                f"{self.journal.folder}: its tokens are saved as {before['save_as']}, and would "
                f"now be saved as {self.identity['save_as']}; a corpus has one form: give another "
                "folder"
            )
        other = self.journal.other_settings()
        if redo or other is None:
            return
        raise OtherSettings(
            f"{self.journal.folder}: {again:,} of its videos ({size / 1e9:.1f} GB) were done with "
            f"other settings: {differences(other, self.identity)}. Nothing was done. --redo does "
            "them again with the new ones; or give another folder"
        )

    def __enter__(self) -> "Job":
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()

    def config(self, settings: Settings) -> dict[str, Any]:
        """Returns what a worker needs, as JSON can hold it."""
        return {"folder": os.path.abspath(self.journal.folder), "settings": settings.to_json(),
                "model": self.model}  # fmt: skip

    def work(
        self,
        engine: Engine,
        told: Callable[[Progress], None] = lambda progress: None,
        asked: Callable[[], bool] = lambda: False,
    ) -> Progress:
        """Does what the plan chose.

        Args:
            engine: what does it.
            told: is called after every video.
            asked: whether an end was asked for; no other video is begun then.

        Raises:
            OSError: the disk is full. What is done is kept; the video in hand counts as not done.
        """
        progress = self.progress
        progress.began = time.perf_counter()
        sweep(self.journal.folder)
        try:
            self._do(engine, told, asked)
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.journal.folder}: the journal cannot be written ({error}); what "
                          "is done is kept: run the same command again") from error  # fmt: skip
        finally:
            progress.failures = self.journal.failures()
            with suppress(OSError):  # a full disk: the next call writes it
                self._write_index()
        progress.stopped = asked()
        progress.took = time.perf_counter() - progress.began
        return progress

    def _do(
        self, engine: Engine, told: Callable[[Progress], None], asked: Callable[[], bool]
    ) -> None:
        every, written = _INDEX_SECONDS, time.perf_counter()
        for task, result in engine.results(self._tasks(asked)):
            if result.get("full_disk"):
                raise OSError(
                    f"{self.journal.folder}: {result['error']}; what is done is kept: make room "
                    "and run the same command again"
                )
            self._record(task, result)
            self.progress.count(task, result)
            told(self.progress)
            if time.perf_counter() - written > every:
                begin = time.perf_counter()
                self._write_index()
                written = time.perf_counter()
                every = max(_INDEX_SECONDS, (written - begin) / _INDEX_SHARE)

    def _tasks(self, asked: Callable[[], bool]) -> Iterator[Task]:
        for task in self.journal.tasks():
            if asked():
                return
            if not task.replace:
                with self._transaction(durable=False):
                    self.journal.begun(task)
            yield task

    def _record(self, task: Task, result: Result) -> None:
        with self._transaction():
            self.journal.record(task, result, self._settings)
            self.journal.tell("indexed", False)

    def _write_index(self) -> None:
        journal = self.journal
        if journal.told("indexed") and (journal.folder / index.NAME).is_file():
            return
        if isinstance(self._form, Lance) and (waiting := journal.waiting()):
            self._form.commit(journal.folder, waiting)
            with self._transaction():
                journal.committed(waiting)
        index.write_index(Path(journal.folder), journal.rows())
        with self._transaction():
            journal.tell("indexed", True)
