"""Ctrl-C while a command is still importing: it ends with one line, not with a traceback.

Importing torch takes a second or more, in which no handler of the command line's is there yet. Only
in a process that is one of our commands: as a library we leave signals alone.
"""

import os
import signal
import sys
import threading
from types import FrameType

_MODULES = ("patchgate.cli", "patchgate.cli.__main__")


def _begin() -> None:
    """From here on Ctrl-C ends the process at once, if it is one of our commands."""
    if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def over() -> None:
    """The command clears up after itself from here on: Ctrl-C is a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"patchgate: interrupted: nothing was written\n")
    os._exit(128 + number)


def _is_command() -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    words = sys.orig_argv
    module = words[words.index("-m") + 1 :][:1] if "-m" in words else []
    script = os.path.basename(sys.argv[0]) if getattr(sys, "argv", None) else ""
    return script in ("patchgate", "patchgate.exe") or bool(module and module[0] in _MODULES)


_begin()
