"""What was measured so far, a file for each clip or scene and size: an interrupted run goes on.

Figures of other settings, or of another state of the code, are never taken for one's own: the
folder is named by them.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness

FOLDER = harness.ROOT / "build" / "pretrained" / "parts"

Rows = list[dict[str, Any]]


class Kept:
    """The parts of one run.

    Args:
        settings: all that changes a figure, as JSON can say it.
        commit: that of the code; with a + (uncommitted changes), nothing is found again.
        fresh: forget what is there.
    """

    def __init__(
        self, settings: Any, commit: str, *, fresh: bool = False, folder: Path = FOLDER
    ) -> None:
        said = json.dumps([settings, commit], sort_keys=True)
        self.folder = folder / hashlib.sha256(said.encode()).hexdigest()[:12]
        if fresh or commit.endswith("+"):
            shutil.rmtree(self.folder, ignore_errors=True)

    def part(self, name: str, measure: Callable[[], Rows]) -> None:
        """Measured and written, unless it is there."""
        path = self._path(name)
        if not path.exists():
            load, start = os.getloadavg()[0], time.perf_counter()
            rows = [{name: _short(value) for name, value in row.items()} for row in measure()]
            seconds = round(time.perf_counter() - start)
            # Beside its place first: an interrupt leaves no half of a file.
            beside = path.with_suffix(".part")
            harness.write(beside, rows, load=round(load, 1), seconds=seconds)
            beside.replace(path)

    def rows(self) -> tuple[Rows, dict[str, Any]]:
        """Returns the rows of all parts, those of earlier commands too; and of all of them
        together: dates, seconds, and the highest load of the machine when one began.
        """
        parts = [json.loads(path.read_text()) for path in sorted(self.folder.glob("*.json"))]
        sources = [part["provenance"] for part in parts]
        dates = sorted({source["date"] for source in sources})
        facts = {
            "date": " to ".join(dict.fromkeys((*dates[:1], *dates[-1:]))),
            "seconds": sum(source["seconds"] for source in sources),
            "highest load": max((source["load"] for source in sources), default=0),
        }
        return [row for part in parts for row in part["rows"]], facts

    def _path(self, name: str) -> Path:
        """A file of its own for every name."""
        plain, mark = re.sub(r"\W+", "_", name), hashlib.sha256(name.encode()).hexdigest()[:6]
        return self.folder / f"{plain}_{mark}.json"


def _short(value: Any) -> Any:
    """Six digits of a float are enough."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
