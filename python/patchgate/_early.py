"""Ends a command with one line, not a traceback, if Ctrl-C comes while it is still importing.

Importing torch takes a second or more; the command line has set no handler by then. This holds only
for processes of our own commands: as a library, patchgate does not touch signals.
"""

import os
import signal
import sys
import threading
from types import FrameType

_MODULES = ("patchgate", "patchgate.__main__", "patchgate.cli", "patchgate.cli.__main__")


def _begin() -> None:
    """Makes Ctrl-C end the process at once, if it is one of our commands."""
    if COMMAND and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def over() -> None:
    """Makes Ctrl-C a KeyboardInterrupt again, because the command now handles it."""
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


# Whether this process is one of our commands: ``patchgate`` has no public names then until somebody
# asks for one.
COMMAND = _is_command()
_begin()
