"""Does one thing with several videos, in one process and one after the other."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from patchgate.beside import is_full
from patchgate.cli.outputs import Targets
from patchgate.cli.signals import NOTHING, Stop
from patchgate.cli.terminal import reported, result, say

Facts = dict[str, Any]


class Several:
    """The videos of a command, their files, and what came of them.

    A video that cannot be read does not keep the others from their turn; the exit code is 1 then.
    """

    def __init__(self, videos: Sequence[str], targets: Targets, stop: Stop, as_json: bool) -> None:
        self._videos, self._targets, self._stop = videos, targets, stop
        self._as_json = as_json
        self._done: list[Facts] = []
        self._failed: list[Facts] = []

    def each(
        self, work: Callable[[str, Path], Facts], lines: Callable[[Facts], dict[str, str]]
    ) -> Facts:
        """Does the work, and prints what came of it.

        Args:
            work: takes a video and the file to write, and returns facts.
            lines: says a video's facts for a person.

        Returns:
            The facts of the video; of several, those of each as ``videos``, and as ``failed`` what
            was wrong with the others.

        Raises:
            typer.Exit: something was wrong, or somebody asked for an end.
        """
        alone, stop = len(self._videos) == 1, self._stop
        code = 0
        for video, path in zip(self._videos, self._targets.paths, strict=True):
            try:
                self._one(video, path, work, lines, show=alone or not self._as_json)
            except typer.Exit as error:
                code = error.exit_code
                if alone or code != 1 or is_full(error):
                    break
                self._failed.append({"video": video, "error": _said(error)})
            if not stop.next():
                break
            stop.leaves = f"{NOTHING} of what was being read"
        if stop.exit_code and not alone:
            left = len(self._videos) - len(self._done) - len(self._failed)
            say("interrupted", f"{left} of {len(self._videos)} videos were left out")
        if alone:
            facts = self._done[0] if self._done else {}
        else:
            facts = {"videos": self._done, "failed": self._failed}
            with reported(stop):
                if self._as_json:
                    result(facts, {}, "", True)
        code = stop.exit_code or code or int(bool(self._failed))
        if code:
            raise typer.Exit(code)
        return facts

    def _one(
        self,
        video: str,
        path: Path,
        work: Callable[[str, Path], Facts],
        lines: Callable[[Facts], dict[str, str]],
        show: bool,
    ) -> None:
        stop = self._stop
        with reported(stop) as warned:
            facts = work(video, path)
            facts["warnings"] = warned
            if not facts["complete"]:
                say("interrupted", f"{facts['output']} holds the first {facts['held']}")
            del facts["held"]
            if show:
                result(facts, lines(facts), video, self._as_json)
            self._done.append(facts)


def _said(error: BaseException) -> str:
    cause = error.__cause__
    return " ".join(str(cause if cause is not None else error).split())
