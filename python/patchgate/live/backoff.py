"""How long to wait until a source is opened again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from patchgate._check import checked_number, settle


@dataclass(frozen=True)
class Backoff:
    """The seconds to wait before a source that failed is opened again.

    The first wait takes ``first`` seconds, each further one twice as long as the one before, up to
    ``most``. Once a picture has come, the waits begin with ``first`` again.

    Args:
        first: seconds, above 0.
        most: seconds, at least ``first``.
        jitter: the share of a wait that is left to chance, so that many cameras behind one switch
            do not come back in the same moment: between ``1 - jitter`` and 1 times the wait.

    Raises:
        TypeError, ValueError: a number is out of range.
    """

    first: float = 0.5
    most: float = 30.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        settle(
            self,
            first=checked_number("Backoff.first", self.first, 1e-3, 86_400, "seconds"),
            most=checked_number("Backoff.most", self.most, 1e-3, 86_400, "seconds"),
            jitter=checked_number("Backoff.jitter", self.jitter, 0, 1, "of the wait"),
        )
        if self.most < self.first:
            raise ValueError(
                f"Backoff.most: expected at least first={self.first:g} s, got {self.most:g}"
            )


class Waits:
    """The waits of one source, one after the other."""

    def __init__(self, rule: Backoff, chance: random.Random | None = None) -> None:
        self._rule, self._chance = rule, chance or random.Random()
        self._next = rule.first

    def next(self) -> float:
        """Returns the seconds of the next wait."""
        seconds, self._next = self._next, min(self._rule.most, 2 * self._next)
        return seconds * (1 - self._rule.jitter * self._chance.random())

    def reset(self) -> None:
        """Notes that a picture came."""
        self._next = self._rule.first
