"""How far a corpus is: a progress bar, and the lines and facts of its end."""

import contextlib
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from patchgate._check.text import escaped
from patchgate.cli.terminal import bytes_text
from patchgate.corpus.estimate import Estimate
from patchgate.corpus.job import Progress as Done
from patchgate.corpus.planning import WHY, Plan

_MOST_FAILURES = 10  # that are told one by one


class CorpusMeter:
    """A progress bar, where standard error is a terminal. Failures are told as they come."""

    def __init__(self, plan: Plan) -> None:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bar = Progress(
            TextColumn("corpus"), BarColumn(), TaskProgressColumn(),
            TextColumn("{task.fields[counts]}"), TimeRemainingColumn(),
            console=console, disable=not console.is_terminal, transient=True,
        )  # fmt: skip
        self._by_bytes = plan.chosen_bytes > 0
        total = plan.chosen_bytes if self._by_bytes else plan.chosen
        self._plan, self._told = plan, 0
        self._task = self._bar.add_task("", total=total, counts=f"0/{plan.chosen:,} videos")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._bar.disable:
            with contextlib.suppress(OSError):
                self._bar.stop()

    def show(self, done: Done) -> None:
        """Moves the bar, and tells of a video that failed."""
        finished = done.done + done.failed + done.same
        took = max(done.took, 1e-9)
        counts = (
            f"{finished:,}/{self._plan.chosen:,} videos  {finished / took:.2f} videos/s  "
            f"{done.seconds / 3600 / took:.3g} hours of video/s  kept {kept(done)}  "
            f"{done.failed:,} failed"
        )
        completed = done.read_bytes if self._by_bytes else finished
        self._bar.update(self._task, completed=completed, counts=counts)
        assert done.last is not None
        task, came = done.last
        if came["status"] != "failed" or self._told > _MOST_FAILURES:
            return
        self._told += 1
        why = came["error"]
        said = escaped(why if why.startswith(task.path) else f"{task.path}: {why}")
        if self._told > _MOST_FAILURES:
            said = "more videos failed; the index has the reason of each"
        with contextlib.suppress(OSError):
            self._bar.console.print(f"patchgate: failed: {said}", markup=False)


def kept(done: Done) -> str:
    """The share of cells that were kept, in words."""
    return f"{done.tokens / done.cells:.1%}" if done.cells else "unknown"


def plan_lines(plan: Plan) -> dict[str, str]:
    """Says what a call found, for a person."""
    lines = {"videos": f"{plan.videos:,}: {plan.done:,} done before"}
    if plan.failed_before:
        lines["failed"] = f"{plan.failed_before:,} before (--retry-failed does them again)"
    to_do = sum(count for count, _ in plan.reasons.values())
    if to_do:
        reasons = (f"{count:,} {WHY[why]}, {bytes_text(size)}"
                   for why, (count, size) in plan.reasons.items())  # fmt: skip
        lines["to do"] = "; ".join(reasons)
    if plan.chosen < to_do:
        lines["now"] = f"{plan.chosen:,} of them (--limit)"
    return lines


def estimate_lines(found: Estimate) -> dict[str, str]:
    """Says what is expected, for a person."""
    if found.seconds is None:
        return {}
    hours = f"{found.seconds / 3600:.2f}, by the lengths of {found.looked_at:,} videos"
    lines = {"hours": hours}
    if found.tokens is not None and found.bytes is not None:
        lines["tokens"] = (
            f"about {found.tokens:,}, {bytes_text(found.bytes)}, by the first seconds of "
            f"{found.samples} videos"
        )
    return lines


def end_lines(done: Done, index: str) -> dict[str, str]:
    """Says what came of a call, for a person."""
    lines = plan_lines(done.plan)
    lines["done"] = f"{done.done:,} videos, {done.seconds / 3600:.2f} hours, in {done.took:.1f} s"
    if done.same:
        lines["unchanged"] = f"{done.same:,} videos, whose files have only a new time"
    if done.failed:
        lines["failed now"] = f"{done.failed:,}; the index says why"
    lines["tokens"] = f"{done.tokens:,} of {done.cells:,}: {kept(done)} kept"
    lines["size"] = bytes_text(done.written_bytes)
    return {**lines, "index": index}


def facts(done: Done, index: str) -> dict[str, Any]:
    """What came of a call, for a program."""
    plan = done.plan
    return {
        "videos": plan.videos,
        "done": done.done,
        "done_before": plan.done + done.same,
        "failed": done.failed,
        "failed_in_all": done.failures,
        "left": done.left,
        "seconds_of_video": done.seconds,
        "tokens": done.tokens,
        "dense_tokens": done.cells,
        "output_bytes": done.written_bytes,
        "seconds": done.took,
        "index": index,
        "interrupted": done.stopped,
    }
