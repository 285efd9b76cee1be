"""A thread boundary in a chain of generators: the stage above works ahead of the stage below."""

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

import torch

from patchgate.decode.source.waiting import ends_with

Item = TypeVar("Item")

_POLL_SECONDS = 0.1  # the time after which a producer notices that its consumer has left


def prefetch(items: Iterator[Item], depth: int = 1) -> Generator[Item, None, None]:
    """Yields the same items, which a thread makes at most ``depth`` ahead.

    An error of the producer is raised here, after the items before it. If the consumer leaves
    early, the producer is stopped and closed before this generator ends, even if it waits for a
    server or a pipe. Producer and consumer use the CUDA stream that is current at the first item.
    """
    made: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(depth)
    left = threading.Event()  # the consumer is gone
    stream = torch.cuda.current_stream() if torch.cuda.is_initialized() else None

    def put(is_item: bool, value: Item | BaseException | None) -> bool:
        while not left.is_set():
            with contextlib.suppress(queue.Full):
                made.put((is_item, value), timeout=_POLL_SECONDS)
                return True
        return False

    def produce() -> None:
        try:
            with torch.cuda.stream(stream), ends_with(left):  # a stream of None changes nothing
                for item in items:
                    if not put(True, item):
                        break
            put(False, None)
        except BaseException as error:  # the consumer raises it
            put(False, error)
        finally:
            if hasattr(items, "close"):
                items.close()

    thread = threading.Thread(target=produce, name="patchgate-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = made.get()
            if is_item:
                yield value  # type: ignore[misc]
            elif value is None:
                return
            else:
                raise value  # type: ignore[misc]
    finally:
        left.set()
        thread.join()
