"""Stage a: every kernel once, in small, against the CPU."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from commit import ROOT
from gpu import Case, all_cases
from gpu.device import Gpu
from gpu.device import here as device
from gpu.measure import check

from patchgate import build_info
from stages import Item, NotAvailable

__all__ = ["device", "items"]

AHEAD_SECONDS = 60.0


def items(device: Gpu) -> list[Item]:
    """What is there; kernels compiled ahead, on all cores; then case after case."""
    cases = [
        Item(f"{case.op}: {case.name}", partial(one, case, device), 25, kernel_of(case))
        for case in chosen(device)
    ]
    return [
        Item("what is there", lambda: present(device), 20),
        Item("Triton kernels, compiled ahead", lambda: ahead(device), AHEAD_SECONDS),
        *cases,
    ]


def chosen(device: Gpu, ops: Sequence[str] = ()) -> list[Case]:
    """The small cases; in a rehearsal one of each kernel and mode."""
    cases = all_cases(ops, small=True)
    if not device.rehearsed:
        return cases
    return list({(case.op, case.kernel, case.mode): case for case in reversed(cases)}.values())[
        ::-1
    ]


def kernel_of(case: Case) -> str:
    """The kernel, or its mode, that a case is about; "" where it is about several."""
    return case.mode or ("" if case.kernel == "-" else case.kernel or case.op)


def one(case: Case, device: Gpu) -> Iterator[dict[str, Any]]:
    """It runs, and then it is equal: two facts, should the second never come."""
    inputs = device.moved(case.inputs)
    with device.ops(case.kernel):
        case.call(*inputs)
    device.finish()
    yield {"case": case.name, "ran": True}
    fresh = device.moved(case.inputs)  # what it writes in place is as it was
    try:
        check(case, fresh, device)
    except AssertionError as error:
        yield {"case": case.name, "equal": False, "result": "failed", "why": str(error)}
    else:
        yield {"case": case.name, "equal": True}


def present(device: Gpu) -> Iterator[dict[str, Any]]:
    """Versions, and what the library was built for."""
    yield {
        "python": platform.python_version(), "torch": torch.__version__, "cuda": torch.version.cuda,
        "architecture": device.architecture, "cores": os.cpu_count(), **build_info(),
    }  # fmt: skip


def ahead(device: Gpu) -> Iterator[dict[str, Any]]:
    """In processes that know no GPU, and into Triton's own cache: see ahead.py."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, str(ROOT / "benchmarks" / "stages" / "ahead.py")]
    command += [str(device.architecture), "2" if device.rehearsed else "1000"]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        raise NotAvailable(f"exit status {done.returncode}: they are compiled as they are called")
    yield json.loads(done.stdout.splitlines()[-1])
