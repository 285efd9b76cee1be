"""A worker's process: tasks come on standard input, results go to standard output, as JSON lines.

A pool starts it as ``python -c BOOT``, so that a user's script is not imported again and needs no
``if __name__ == "__main__"``. It ends at once when its standard input does: then the job's process
is gone, or does not want the result any more.
"""

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from typing import IO, Any

# The parent's sys.path comes as the first argument.
BOOT = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from patchgate.corpus.engines.process import main; main()"
)
HELLO = "ready"  # what a worker says when it has loaded all that it needs


def main() -> None:
    """Does tasks until the input ends, which ends the process."""
    out = _own_output()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the job's: it ends its workers
    tasks: queue.Queue[Any] = queue.Queue()
    threading.Thread(target=_listen, args=(tasks,), name="patchgate-tasks", daemon=True).start()
    config = tasks.get()
    try:
        worker = _worker(config)
    except Exception as error:  # told, and the job ends with it
        told = isinstance(error, ValueError | OSError | ImportError)
        _say(out, {"error": str(error) if told else f"{type(error).__name__}: {error}"})
        return
    _say(out, {HELLO: os.getpid()})
    while True:
        _say(out, worker.do(tasks.get()))


def _worker(config: dict[str, Any]) -> Any:
    import torch

    from patchgate.corpus.settings import Settings
    from patchgate.corpus.worker import Worker

    settings = Settings.from_json(config["settings"])
    torch.set_num_threads(settings.torch_threads)
    return Worker(config["folder"], settings, config["model"])


def _own_output() -> IO[str]:
    """Keeps standard output for results: what anybody else prints goes to standard error."""
    mine = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(mine, "w", encoding="utf-8")


def _say(out: IO[str], told: dict[str, Any]) -> None:
    try:
        out.write(json.dumps(told) + "\n")
        out.flush()
    except OSError:  # the job's process is gone
        os._exit(1)


def _listen(tasks: "queue.Queue[Any]") -> None:
    """Reads tasks. If the input ends, so does the process, and leaves no hidden folder."""
    for line in sys.stdin:
        tasks.put(json.loads(line))
    from patchgate.beside import remove_scratch

    with contextlib.suppress(Exception):
        remove_scratch()
    os._exit(1)
