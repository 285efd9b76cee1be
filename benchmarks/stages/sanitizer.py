"""Stage e: bounds and races of every kernel, and all tests that need a GPU."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from commit import ROOT
from gpu.device import Gpu
from gpu.device import here as device

from stages import Item, NotAvailable

__all__ = ["device", "items", "test_files"]

# Not the calls that torch and Triton make to find out what the driver can do, and may fail.
TOOLS = {"memcheck": ["--report-api-errors", "no"], "racecheck": []}
NVDEC = ("av", "PyNvVideoCodec")  # packages; and films are decoded one at a time
PROCESSES = "8"  # most of the tests' time goes into compiling kernels, on one core each


def items(device: Gpu) -> list[Item]:
    """Tests first: they find more."""
    films = [name for name in test_files() if "nvdec" in name]
    kernels = [name for name in test_files() if name not in films]
    return [
        Item("tests of kernels and towers", partial(tested, kernels, device, ()), 120),
        Item("tests of NVDEC", partial(tested, films, device, NVDEC), 60),
        *(Item(tool, partial(sanitized, tool), 90) for tool in TOOLS),
    ]


def test_files() -> list[str]:
    """Those of tests/gpu, from the repository's root."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/gpu/test_*_cuda.py"))


def tested(files: list[str], device: Gpu, needed: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A fact of every test that fails, as it fails, and one of each file. In a rehearsal tests are
    only collected.
    """
    needed = ["pytest", "hypothesis", *([] if device.rehearsed else needed)]
    if absent := [name for name in needed if find_spec(name) is None]:
        raise NotAvailable(f"not installed: {', '.join(absent)}")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *files]
    if device.rehearsed:
        command.append("--collect-only")
    elif "av" not in needed and find_spec("xdist") is not None:
        command += ["-n", PROCESSES, "--dist", "worksteal"]
    # A test that would skip for want of a GPU fails.
    environment = os.environ | {"PATCHGATE_REQUIRE_CUDA": "0" if device.rehearsed else "1"}
    process = started(command, environment)
    yield from outcomes(printed(process))
    code = process.wait()
    yield {"files": len(files), "result": "failed" if code else "passed",
           "why": f"exit status {code}" if code else ""}  # fmt: skip


def started(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """A program whose lines can be read as it prints them."""
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def printed(process: subprocess.Popen[str]) -> Iterator[str]:
    """Its lines, which are seen in the log, too."""
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        yield line


_ALONE = re.compile(r"^(tests/\S+\.py)::(.*) (PASSED|FAILED|ERROR|SKIPPED)( |$)")
_TOGETHER = re.compile(
    r"^\[gw\d+\] \[ *\d+%\] (PASSED|FAILED|ERROR|SKIPPED) (tests/\S+\.py)::(.*)$"
)


def outcomes(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """From what ``pytest -v`` prints, with or without xdist."""
    counts: dict[str, Counter[str]] = {}
    for line in lines:
        if found := _ALONE.match(line):
            file, test, outcome = found[1], found[2], found[3]
        elif found := _TOGETHER.match(line):
            outcome, file, test = found[1], found[2], found[3].strip()
        else:
            continue
        counts.setdefault(file, Counter())[outcome.lower()] += 1
        if outcome in ("FAILED", "ERROR"):
            yield {"file": file, "result": "failed", "why": test}
    for file, count in counts.items():
        bad = count["failed"] + count["error"]
        yield {"file": file, **count, "result": "failed" if bad else "passed",
               "why": f"{bad} tests failed" if bad else ""}  # fmt: skip


def sanitized(tool: str) -> Iterator[dict[str, Any]]:
    """Every op at small sizes under one of compute-sanitizer's tools."""
    if shutil.which("compute-sanitizer") is None:
        raise NotAvailable("there is no compute-sanitizer")
    command = [
        "compute-sanitizer", "--error-exitcode", "1", "--tool", tool, *TOOLS[tool],
        sys.executable, str(ROOT / "benchmarks" / "gpu"), "--small",
    ]  # fmt: skip
    process = started(command, os.environ)
    lines = list(printed(process))
    code = process.wait()
    said = [line.strip("= \n") for line in lines if " SUMMARY" in line]
    if code != 0 and not said:  # it cannot look at this device
        raise NotAvailable(f"exit status {code}: {''.join(lines)[-300:]}")
    yield {"said": "; ".join(said), "cases": sum(line.endswith(": right\n") for line in lines),
           "result": "failed" if code else "passed",
           "why": f"exit status {code}" if code else ""}  # fmt: skip
