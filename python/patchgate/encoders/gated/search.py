"""The settings that ``calibrate`` tries, in what order, and which it can leave out."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple


class Rules(NamedTuple):
    """The three settings that are looked over; a stricter gate keeps more cells."""

    threshold: float  # grey levels of 255
    sub_blocks: int  # parts of a patch side
    tolerance: float  # share of a state's norm

    def as_strict_as(self, other: "Rules") -> bool:
        """Whether each setting is that of the other, or stricter."""
        return (
            self.threshold <= other.threshold
            and self.sub_blocks >= other.sub_blocks
            and self.tolerance <= other.tolerance
        )

    def __str__(self) -> str:
        return (
            f"threshold={self.threshold:g}, sub_blocks={self.sub_blocks}, "
            f"tolerance={self.tolerance:g}"
        )


@dataclass(frozen=True)
class Trial:
    """The answers that some settings kept, and the work that they took."""

    tolerance: float
    agreement: float  # the share of answers that are the dense tower's; of the worst clip
    work: float  # operations divided by those of the dense tower
    threshold: float
    sub_blocks: int

    @property
    def rules(self) -> Rules:
        """The settings."""
        return Rules(self.threshold, self.sub_blocks, self.tolerance)


def cheapest(
    start: Rules,
    thresholds: Iterable[float],
    sub_blocks: Iterable[int],
    tolerances: Iterable[float],
    target: float,
    measured: Callable[[Rules], Trial],
) -> tuple[Trial | None, list[Trial]]:
    """Looks for the settings of the least work that keep the target's share of the answers.

    Two assumptions leave settings out, and neither of them says that any are good. If settings
    kept too few answers, then so do looser ones. If settings took as much work as the best so far,
    then so do stricter ones.

    Args:
        start: the threshold and the sub-blocks to begin with.
        measured: tries settings.

    Returns:
        The best trial, or None if no settings reach the target, and all trials in their order.
    """
    trials: list[Trial] = []
    best: Trial | None = None
    falling = sorted(tolerances, reverse=True)
    for threshold, parts in _gates(start, thresholds, sub_blocks):
        # Where the gate before failed with the strictest tolerance, this one is asked that first.
        first = falling[-1:] if trials and best is None else []
        for number, tolerance in enumerate([*first, *falling]):
            rules = Rules(threshold, parts, tolerance)
            if any(_too_loose(each, rules, target) for each in trials):
                continue
            if best is not None and any(_too_dear(each, rules, best) for each in trials):
                break
            trials.append(measured(rules))
            if trials[-1].agreement >= target:
                if best is None or trials[-1].work < best.work:
                    best = trials[-1]
                if number >= len(first):
                    break
    return best, trials


def _too_loose(tried: Trial, rules: Rules, target: float) -> bool:
    return tried.agreement < target and tried.rules.as_strict_as(rules)


def _too_dear(tried: Trial, rules: Rules, best: Trial) -> bool:
    return tried.work >= best.work and rules.as_strict_as(tried.rules)


def _gates(
    start: Rules, thresholds: Iterable[float], sub_blocks: Iterable[int]
) -> Iterator[tuple[float, int]]:
    """Yields thresholds and sub-blocks: the first at ``start``, then looser, then stricter ones."""
    parts = list(sub_blocks)
    gates = sorted({(t, -s) for t in thresholds for s in parts})  # the strictest first
    own = (start.threshold, -start.sub_blocks)
    first = min(range(len(gates)), key=lambda i: (_apart(gates[i], own), -i))
    for threshold, negative in [*gates[first:], *reversed(gates[:first])]:
        yield threshold, -negative


def _apart(one: tuple[float, int], other: tuple[float, int]) -> tuple[float, int]:
    return abs(one[0] - other[0]), abs(one[1] - other[1])
