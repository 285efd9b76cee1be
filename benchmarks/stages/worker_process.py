"""The other end of worker.py: starts it, hears what it says, ends it."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

from commit import ROOT

END_SECONDS = 3.0  # a process that waits for a device may not end at all


class Worker:
    """A process that runs a stage's items, from one of them on."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Any) -> None:
        self._incoming, outgoing = os.pipe()
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=log, stderr=log,
            env={**environment, "STAGE_CHANNEL": str(outgoing)}, pass_fds=[outgoing],
            start_new_session=True,
        )  # fmt: skip
        os.close(outgoing)
        self._held = b""

    def message(self, until: float) -> dict[str, Any] | None:
        """What it says next; None where it has ended.

        Args:
            until: on the clock of ``time.monotonic``.

        Raises:
            TimeoutError: it says nothing until then.
        """
        while b"\n" not in self._held:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self._incoming], [], [], left)[0]:
                raise TimeoutError
            more = os.read(self._incoming, 1 << 16)
            if not more:
                return None
            self._held += more
        line, self._held = self._held.split(b"\n", 1)
        return dict(json.loads(line))

    def end(self, grace: float = 0.0) -> str:
        """Ends it with all that it started, and says how it ended: "SIGSEGV", "exit status 1".

        Args:
            grace: seconds in which it may end by itself.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        os.close(self._incoming)
        if self._process.stdin is not None:
            self._process.stdin.close()
        code = self._process.returncode
        if code is None:
            return "it cannot be ended"
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"
