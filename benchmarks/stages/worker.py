"""The process in which a stage's items run, from one of them on. Started by run.py.

It tells, on the descriptor that it is given, one JSON object a line:
``{"device", "items"}`` (names, limits, kernels), ``{"begin": i}``, ``{"end": i, "usable": bool}``.
``{"error"}``: it cannot begin.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from stages import Item, NotAvailable  # noqa: E402
from stages.facts import Facts  # noqa: E402


def main(stage: str, module: str, first: int, folder: Path, commit: str, rehearsed: bool) -> None:
    descriptor = int(os.environ["STAGE_CHANNEL"])
    _end_with_parent(descriptor)
    with os.fdopen(descriptor, "w", buffering=1) as channel:

        def tell(**message: Any) -> None:
            channel.write(json.dumps(message) + "\n")

        try:
            parts = importlib.import_module(module)
            device = parts.device(rehearsed)
            items: list[Item] = parts.items(device)
        except BaseException as error:
            traceback.print_exc()
            tell(error=said(error))
            return
        tell(device=device.name, items=[(item.name, item.seconds, item.kernel) for item in items])
        facts = Facts(folder, stage, device.name, commit)
        for i in range(first, len(items)):
            tell(begin=i)
            print(f"== {stage}: {items[i].name}", flush=True)
            run(items[i], facts)
            usable = device.usable()
            tell(end=i, usable=usable)
            if not usable:
                return


def run(item: Item, facts: Facts) -> None:
    """Writes what it yields, and how it ended if it did not end well."""
    begin = time.monotonic()

    def add(fact: dict[str, Any]) -> None:
        spent = round(time.monotonic() - begin, 2)
        facts.add(item.name, {"kernel": item.kernel, **fact, "seconds": spent})

    try:
        for fact in item.run():
            add(fact)
    except NotAvailable as error:
        add({"result": "not available", "why": str(error)})
    except Exception as error:
        traceback.print_exc()
        add({"result": "failed", "why": said(error)})
    gc.collect()


def said(error: BaseException) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {error}".split("\nException raised from")[0][:600]


def _end_with_parent(channel: int) -> None:
    """Standard input is a pipe that nobody writes to: it ends when the parent does. A process looks
    at it, not a thread, for an item may hang in native code and keep Python's lock.
    """
    if os.fork():
        return
    os.close(channel)
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    stage, module, first, folder, commit, rehearsed = sys.argv[1:]
    main(stage, module, int(first), Path(folder), commit, rehearsed == "1")
