"""Calls that change an object completely or not at all; only one call runs at a time."""

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
Undo = Callable[[], None]  # may be called again if it was interrupted itself


class Calls:
    """The calls that change one object.

    A call that fails, runs out of memory or is interrupted leaves the object as it was. A call from
    a second thread (or from a signal handler) is refused while one is running.

    Args:
        what: the name of the object in messages.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._inside: dict[str, object] = {}  # "call": the running one
        self._undo: Undo | None = None  # that of the running call, or one that was interrupted

    def run(self, mark: Callable[[], Undo], work: Callable[[], Result]) -> Result:
        """Runs one call.

        Args:
            mark: notes the state before the call, without changing it, and returns a function that
                brings that state back.
            work: changes the object.

        Raises:
            RuntimeError: another call is running.
        """
        mine = object()
        try:
            if self._inside.setdefault("call", mine) is not mine:
                raise RuntimeError(
                    f"{self._what}: used by two threads at once (or by a signal handler in the "
                    "middle of a call); its frames have an order, which two threads do not: give "
                    "each thread one of its own, or let one thread hand the frames over"
                )
            if self._undo is not None:
                self._undo()
            self._undo = mark()
            result = work()
            self._undo = None
            return result
        finally:
            # Python handles signals after calls, so nothing can happen between these lines.
            if "call" in self._inside and self._inside["call"] is mine:
                try:
                    if self._undo is not None:
                        self._undo()
                        self._undo = None
                finally:
                    del self._inside["call"]

    def settle(self) -> None:
        """Finishes an undo that was interrupted. Call it before the object is read."""
        if self._undo is not None and not self._inside:
            self._undo()
            self._undo = None

    def __reduce__(self) -> tuple[type["Calls"], tuple[str]]:
        return type(self), (self._what,)  # no call of the copy is running
