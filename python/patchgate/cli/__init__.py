"""The command line: `patchgate tokenize`, `patchgate info`, `patchgate inspect`, `patchgate bench`.

options.py   the options that commands share, each with unit and default
commands.py  what each command does, and the dict that it prints with --json
             (inspection.py, bench.py and bench_ways.py do the work of those)
report.py    progress, warnings, errors and exit codes, Ctrl-C
"""

import contextlib
import io
import signal
import sys

from patchgate.cli import bench
from patchgate.cli.commands import app

app.command()(bench.bench)


def main() -> None:
    """Exit codes: 0 done, 1 bad input or output, 2 wrong usage, 128 + a signal that ended it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may have letters it cannot write
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="patchgate")
    finally:  # all is said: no signal shall make a traceback of Python's own ending
        with contextlib.suppress(KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_IGN)


__all__ = ["app", "main"]
