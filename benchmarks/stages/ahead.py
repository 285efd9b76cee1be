"""Compiles the Triton kernels that the stages launch, on all cores, into Triton's cache.

    python benchmarks/stages/ahead.py 90        for sm_90; prints one JSON object

By itself each launch of a new kind compiles its kernel, one after another, a second or two each.
Here every case's launches are recorded on the CPU, small and with the stage's own pointers, and
compiled as a launch would, by one process a core. A cache that was filled elsewhere does not serve:
Triton's key holds the hash of its own compiler's binary, which differs between Pythons.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from compiled.triton import compile_for  # noqa: E402
from gpu import all_cases  # noqa: E402
from gpu.device import OnCpu  # noqa: E402
from torch import Tensor  # noqa: E402

from patchgate.kernels import attention_tiles  # noqa: E402
from patchgate.kernels.launch import Launch  # noqa: E402


def recorded(architecture: int) -> list[Launch]:
    """The launches of all small cases, none of which is made; one of each kind."""
    found: dict[str, Launch] = {}

    def kept(launch: Launch, grid: tuple[int, ...], like: Tensor) -> None:
        found.setdefault(kind_of(launch), launch)

    with (
        mock.patch.object(Launch, "run", kept),
        mock.patch.object(attention_tiles, "generation", return_value=architecture // 10),
        OnCpu(triton=True),
    ):
        for case in all_cases(small=True):
            case.call(*case.inputs)
    return list(found.values())


def kind_of(launch: Launch) -> str:
    """The same for launches that share a kernel: what Triton looks at of their arguments."""

    def told(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.dtype, value.data_ptr() % 16 == 0
        if isinstance(value, tuple):
            return [told(each) for each in value]
        return (value == 1, value % 16 == 0) if isinstance(value, int) else value

    return f"{launch.kernel.__name__} {sorted(launch.options.items())} {told(launch.arguments)}"


LAUNCHES: list[Launch] = []  # forked processes have what stood here; none of it can be sent


def compiled(number: int, architecture: int) -> bool:
    """Whether the launch of this number can be, in this process."""
    try:
        compile_for(LAUNCHES[number], architecture)
    except Exception as error:
        print(f"{LAUNCHES[number].kernel.__name__}: {error}", file=sys.stderr)
        return False
    return True


def main(architecture: int, most: int) -> dict[str, Any]:
    """As many launches as these, over all cores."""
    begin = time.perf_counter()
    LAUNCHES.extend(recorded(architecture)[:most])
    cores = min(len(LAUNCHES), len(os.sched_getaffinity(0)))
    # Forked: each has torch, Triton and the launches, and none has touched a GPU.
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        numbers = [(number, architecture) for number in range(len(LAUNCHES))]
        done = pool.starmap(compiled, numbers, chunksize=1)
    return {"launches": len(done), "failed": done.count(False), "cores": cores,
            "compile seconds": round(time.perf_counter() - begin, 1)}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000)))
