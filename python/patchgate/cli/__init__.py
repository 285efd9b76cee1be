"""The command line: ``patchgate tokenize``, ``embed``, ``info``, ``inspect``, ``plan`` and others.

commands/      the commands as they are typed: options and help, without torch
described.py   what info says of a file
encode.py      the work of tokenize and embed; job.py does what both have, several.py with several
               videos
outputs.py     the file or folder that is written
towers.py      --tower: a model and its processor by name
grids.py       --grid: the grid of a model's frames
inspection.py  the work of inspect: page, picture, overlay
corpus/        the work of corpus, and how far it is
plan.py        the work of plan; plan_lines.py what it prints; policies.py lists the policies
advise.py      what advise prints
cameras/       the work of live and doctor
bench.py       the work of bench; bench_ways.py the ways that it times; bench_share.py where the
               time goes, and what a saving in the tower is worth
terminal.py    progress, warnings, errors and exit codes
signals.py     Ctrl-C: a command ends soon and leaves nothing half done
__main__.py    ``python -m patchgate.cli``; so does ``python -m patchgate``
"""

import contextlib
import io
import signal
import sys

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


__all__ = ["app", "main"]
