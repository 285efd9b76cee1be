"""The command line: `patchgate tokenize`, `patchgate info`, `patchgate inspect`.

options.py   the options that commands share, each with unit and default
commands.py  what each command does, and the dict that it prints with --json; inspection.py
report.py    progress, warnings, errors and exit codes, Ctrl-C
"""

from patchgate.cli.commands import app


def main() -> None:
    """Exit codes: 0 done, 1 bad input or output, 2 wrong usage, 130 interrupted."""
    app(prog_name="patchgate")


__all__ = ["app", "main"]
