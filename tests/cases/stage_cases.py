"""A stage whose items end in every way, for the tests of benchmarks/stages. Needs no torch."""

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

from stages import Item, NotAvailable

STATE = SimpleNamespace(usable=True)


def device(rehearsed: bool) -> SimpleNamespace:
    return SimpleNamespace(name="a device", usable=lambda: STATE.usable)


def items(device: Any) -> list[Item]:
    return [
        Item("first", partial(learns, 1), 5, "gate"),
        Item("raises", raises, 5, "gather"),
        Item("hangs", hangs, 0.5, "gather"),
        Item("dies", dies, 5, "compact"),
        Item("breaks the device", breaks, 5),
        Item("lacks something", lacks, 5),
        Item("last", partial(learns, 2), 5),
    ]


def learns(number: int) -> Iterator[dict[str, Any]]:
    yield {"number": number, "process": os.getpid()}


def raises() -> Iterator[dict[str, Any]]:
    yield {"ran": True}
    raise ValueError("not so")


def hangs() -> Iterator[dict[str, Any]]:
    yield {"ran": True}
    time.sleep(60)


def dies() -> Iterator[dict[str, Any]]:
    os.kill(os.getpid(), signal.SIGSEGV)
    yield {}


def breaks() -> Iterator[dict[str, Any]]:
    STATE.usable = False
    yield {"ran": True}


def lacks() -> Iterator[dict[str, Any]]:
    raise NotAvailable("there is no decoder")
    yield {}
