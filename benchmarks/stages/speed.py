"""Stage b: the ops' times at the sizes of use, the most important op first.

A case is checked against the CPU before it is timed, and set against its counted floor. A baseline
is what a user would do without the op.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from gpu import Case, all_cases
from gpu.device import Gpu
from gpu.device import here as device
from gpu.floors import H200, Ceilings
from gpu.measure import measured_row

from stages import Item
from stages.equal import chosen, kernel_of

__all__ = ["device", "items"]

IMPORTANT = (
    "frame_grid",
    "gate",
    "compact",
    "gather",
    "residual_attention",
    "exchange",
    "pipeline",
    "activate",
    "expand",
    "segment_mean",
    "nearest_token",
    "row_distance",
)


def items(device: Gpu) -> list[Item]:
    """The ceilings, then every case; its inputs are made when the first case of its op begins."""
    bench = Bench(device)
    found = [Item("what a copy moves", bench.ceilings, 20)]
    for op in IMPORTANT:
        known = chosen(device, [op])
        for i, small in enumerate(all_cases([op], small=True)):
            if any(small.name == case.name for case in known):
                kernel = kernel_of(small)
                found.append(Item(f"{op} {i + 1}", partial(bench.case, op, i), 30, kernel))
    return found


class Bench:
    """What items share: the ceilings that were measured, and one op's cases at a time."""

    def __init__(self, device: Gpu) -> None:
        self._device, self._at = device, H200
        self._op, self._cases = "", list[Case]()

    def ceilings(self) -> Iterator[dict[str, Any]]:
        """The roof over all others."""
        self._at: Ceilings = self._device.ceilings()
        yield {"TB/s": round(self._at.bytes / 1e12, 3)}

    def case(self, op: str, number: int) -> Iterator[dict[str, Any]]:
        """One case's row."""
        if self._op != op:
            self._op, self._cases = op, all_cases([op], small=self._device.small)
        row = measured_row(self._cases[number], self._device, self._at)
        yield {name: value for name, value in row.items() if name != "op"} | {
            "ran": True, "equal": True,
        }  # fmt: skip
