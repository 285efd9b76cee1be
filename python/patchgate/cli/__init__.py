"""The command line: ``patchgate tokenize``, ``embed``, ``info``, ``inspect``, ``plan`` and others.

options.py     the options that commands share, each with unit and default
commands.py    info and inspect, and the dict that each prints with --json
encode.py      tokenize and embed; job.py does what both have, several.py with several videos
outputs.py     the file or folder that is written; provenance.py where its contents come from
towers.py      --tower: a model and its processor by name
inspection.py  the work of inspect: page, picture, overlay
plan.py        what a policy would look at
advise.py      which settings fit a video
live.py        cameras, watched, and what opens here
bench.py       what the gate saves and costs on a video; bench_ways.py the ways that it times;
               bench_share.py where the time goes, and what a saving in the tower is worth
terminal.py    progress, warnings, errors and exit codes; usage.py messages of wrong usage
signals.py     Ctrl-C: a command ends soon and leaves nothing half done
__main__.py    ``python -m patchgate.cli``
"""

import contextlib
import io
import signal
import sys

from patchgate.cli import encode, advise, bench, plan, live  # isort: skip  # each adds its commands, in this order
from patchgate.cli.commands import app


def main() -> None:
    """Runs a command. Exit codes: 0 done, 1 bad input or output, 2 wrong usage, 128 + a signal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may have letters it cannot write
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="patchgate")
    finally:  # all is said: no signal shall make a traceback of Python's own ending
        with contextlib.suppress(KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_IGN)


__all__ = ["advise", "app", "bench", "encode", "live", "main", "plan"]
