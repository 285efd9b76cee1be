"""A GPU for some minutes: what is to be learnt of it, in stages, the most valuable first.

    python benchmarks/stages run a --out FOLDER               one stage (make gpu-a OUT=FOLDER)
    python benchmarks/stages run bcd --out FOLDER --budget 480
    python benchmarks/stages run abcde --out FOLDER --rehearse    without a GPU
    python benchmarks/stages keep FOLDER    facts into benchmarks/results, benchmarks/GPU.md anew

A stage is a module here with two functions: ``device(rehearsed)``, what its items run on, and
``items(device)``, a list of ``Item``. It ends within its budget. What it learns is written as it
is learnt, one JSON object a line, to ``FOLDER/<stage>.jsonl``; what items print, to ``FOLDER/log``.

Items run one after another in a process of their own (worker.py). One that raises has failed, and
the next one runs. One that takes longer than its limit, ends the process or leaves the device
unusable ends that process: another one goes on with the next item (run.py).

facts.py      the lines, and what is in each
carry.py      what must travel to a machine that can fetch nothing
page.py       benchmarks/GPU.md's table, from the facts that are kept

a equal.py      every kernel against the CPU           d decoder.py    NVDEC
b speed.py      times, against counted floors          e sanitizer.py  races and bounds; all tests
c towers.py     a tower end to end                     ahead.py        kernels compiled ahead
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Item(NamedTuple):
    """One thing to find out."""

    name: str
    run: Callable[[], Iterable[dict[str, Any]]]  # yields facts, see facts.py
    seconds: float  # at most
    kernel: str = ""  # that its facts are about: one of ``KERNELS``, ``MODES`` or ``PATHS``


class Stage(NamedTuple):
    what: str
    module: str
    seconds: float  # the budget, unless another one is given
    rehearsed: float  # without a GPU
    all_kernels: bool = False  # every kernel must have run in it, in every mode


STAGES = {
    "a": Stage("every kernel against the CPU", "stages.equal", 180, 100, True),
    "b": Stage("times, against counted floors", "stages.speed", 180, 60, True),
    "c": Stage("a tower end to end", "stages.towers", 180, 60),
    "d": Stage("NVDEC", "stages.decoder", 120, 40),
    "e": Stage("sanitizers, and all tests that need a GPU", "stages.sanitizer", 240, 40),
}

KERNELS = (  # along the path of a frame; each is an op
    "frame_grid",
    "gate",
    "compact",
    "gather",
    "residual_attention",
    "residual_attention_backward",
    "exchange",
    "activate",
    "expand",
    "expand_backward",
    "segment_mean",
    "segment_mean_backward",
    "nearest_token",
    "row_distance",
)
MODES = ("gate with light", "gates of cameras", "gate with memory")  # each has a line of its own
PATHS = ("NVDEC", "towers")  # what is made of several


class NotAvailable(Exception):
    """Raised by an item that needs what is not here: a fact, and no failure."""
