"""Ctrl-C and SIGTERM end a command soon, and leave nothing half done."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Self

from patchgate.beside import remove_scratch
from patchgate.decode import Video

INTERRUPTED = 130  # as a shell reports SIGINT
NOTHING = "nothing was written"


class Stopped(KeyboardInterrupt):
    """Raised when the user asked for an end at once."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class Stop:
    """Ctrl-C (or SIGTERM) asks for an end after the current chunk; a second one, for one at once.

    The handler only notes the request, because Python drops errors that are raised in a finaliser.
    ``check`` raises, where that is safe. If the work does not call it within ``GRACE`` seconds, a
    thread of our own removes unfinished files and ends the process. The ``with`` must contain all
    output of the command, because later requests have no effect.

    Args:
        at_once: the first request asks for an end at once, and the handler raises ``Stopped``; the
            thread ends the process if cleaning up takes longer than ``GRACE`` seconds.

    Attributes:
        video: the open video. It ends when somebody asks, so that nobody waits for a server that
            sends nothing.
        leaves: what an end at once leaves, in words.
    """

    GRACE = 2.0  # seconds
    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self, *, at_once: bool = False) -> None:
        self.asked_by: int | None = None  # the signal's number
        self.now = False  # an end at once was asked for
        self.video: Video | None = None
        self.leaves = NOTHING
        self._raises = self._at_once = at_once
        self._settled = False  # the outcome is final: requests have no effect
        self._late: int | None = None  # asked for after that
        self._wake, self._over = threading.Event(), threading.Event()

    def __enter__(self) -> Self:
        handlers = {number: signal.getsignal(number) for number in self._SIGNALS}
        self._before = {number: h for number, h in handlers.items() if h != signal.SIG_IGN}  # nohup
        for number in self._before:
            signal.signal(number, self._ask)
        threading.Thread(target=self._watch, name="patchgate-stop", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.settle()
        self._over.set()
        self._wake.set()
        for number, handler in self._before.items():
            signal.signal(number, handler if self.asked_by is None else signal.SIG_IGN)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._settled:
            self._late = number
        if self._settled or self.now:
            return
        first = self.asked_by is None
        if first:
            self.asked_by = number
            if self.video is not None:
                self.video.stop()
        if self._at_once or not first:
            self.now = True
            self._wake.set()
        if self._raises and first:
            raise Stopped(128 + number)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Within this context nothing has begun yet: the first request raises ``Stopped``."""
        self._raises = True
        try:
            if self.asked_by is not None:
                raise Stopped(self.exit_code)
            yield
        finally:
            self._raises = self._at_once

    def check(self) -> None:
        """Raises ``Stopped`` if an end at once was asked for."""
        if self.now:
            raise Stopped(self.exit_code)

    def settle(self) -> None:
        """Marks the outcome as final: later requests change nothing."""
        self._settled = True

    def next(self) -> bool:
        """Whether other work may begin: requests have an effect again."""
        if self.asked_by is None:
            self.asked_by = self._late
        self._settled, self.video = self.asked_by is not None, None
        return self.asked_by is None

    def _watch(self) -> None:
        self._wake.wait()
        if self._over.wait(self.GRACE) or self._settled:
            return
        remove_scratch()
        cursor = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""  # which the progress bar hides
        with contextlib.suppress(OSError):
            os.write(2, f"{cursor}patchgate: interrupted: {self.leaves}\n".encode())
        os._exit(self.exit_code)

    @property
    def exit_code(self) -> int:
        """0 if nobody asked for an end, else the shell's code for the signal."""
        return 0 if self.asked_by is None else 128 + self.asked_by


@contextmanager
def kills_interrupt() -> Iterator[None]:
    """Lets SIGTERM end a command as Ctrl-C does, so that what it has begun is cleared away."""
    with Stop(at_once=True):
        yield
