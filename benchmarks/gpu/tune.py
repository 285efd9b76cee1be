"""Launch options of a Triton op, tried out on a GPU: python benchmarks/gpu/tune.py gather

For each case of the op, each set of options is checked against the op's own and timed; the best
comes first. What wins everywhere belongs into ``kernels/<op>.py``.
"""

import contextlib
import functools
import itertools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import table

from gpu import all_cases, same_bits
from gpu.device import Gpu, here
from gpu.measure import outputs
from patchgate.kernels.launch import Launch

GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "gather": {
        "num_warps": (2, 4, 8),
        "OUTER": (32, 64),
        "INNER": (32, 64),
        "maxnreg": (None, 128, 168),
    },
    "expand": {"num_warps": (2, 4, 8), "num_stages": (1, 3)},
}


@contextlib.contextmanager
def overridden(options: Mapping[str, Any]) -> Iterator[None]:
    """Every launch inside takes these options in place of its own."""
    run = Launch.run

    def changed(launch: Launch, *rest: Any) -> None:
        run(launch._replace(options={**launch.options, **options}), *rest)

    with mock.patch.object(Launch, "run", changed):
        yield


def option_sets(op: str) -> Iterator[dict[str, Any]]:
    """All combinations; None leaves an option out."""
    names = GRIDS[op]
    for values in itertools.product(*names.values()):
        yield {name: value for name, value in zip(names, values, strict=True) if value is not None}


def tuned(op: str, device: Gpu) -> Iterator[dict[str, Any]]:
    """A row per case and set of options."""
    for case in all_cases([op], small=device.small):
        inputs = device.moved(case.inputs)
        expected = outputs(case.call(*inputs))
        rows = []
        for options in option_sets(op):
            with overridden(options):
                right = same_bits(outputs(case.call(*inputs)), expected)
                _, middle, _ = device.time_us(functools.partial(case.call, *inputs))
            told = ", ".join(f"{name}={value}" for name, value in options.items())
            row = {"case": case.name, "options": told, "us": round(middle, 2), "right": right}
            rows.append(row)
        yield from sorted(rows, key=lambda row: row["us"])


if __name__ == "__main__":
    for name in sys.argv[1:] or GRIDS:
        print("\n".join(table.markdown(list(tuned(name, here())))))
