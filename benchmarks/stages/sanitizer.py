"""Stage e: bounds and races of every kernel, and all tests that need a GPU."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from commit import ROOT
from gpu.device import Gpu
from gpu.device import here as device

from stages import Item, NotAvailable

__all__ = ["device", "items", "test_files"]

# Not the calls that torch and Triton make to find out what the driver can do, and may fail.
TOOLS = {"memcheck": ["--report-api-errors", "no"], "racecheck": []}
PROCESSES = "8"  # most of the tests' time goes into compiling kernels, on one core each


def items(device: Gpu) -> list[Item]:
    """Tests first: they find more. Films are decoded one at a time."""
    films = [name for name in test_files() if "nvdec" in name]
    kernels = [name for name in test_files() if name not in films]
    return [
        Item("tests of kernels and towers", partial(tested, kernels, device, True), 120),
        Item("tests of NVDEC", partial(tested, films, device, False), 60),
        *(Item(tool, partial(sanitized, tool), 90) for tool in TOOLS),
    ]


def test_files() -> list[str]:
    """Those of tests/gpu, from the repository's root."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/gpu/test_*_cuda.py"))


def tested(files: list[str], device: Gpu, together: bool) -> Iterator[dict[str, Any]]:
    """A fact a file. In a rehearsal tests are only collected."""
    if find_spec("pytest") is None or find_spec("hypothesis") is None:
        raise NotAvailable("there is no pytest, or no hypothesis")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
        if device.rehearsed:
            command.append("--collect-only")
        elif together and find_spec("xdist") is not None:
            command += ["-n", PROCESSES, "--dist", "worksteal"]
        command.append(f"--junitxml={report}")
        # A test that would skip for want of a GPU fails.
        environment = os.environ | {"PATCHGATE_REQUIRE_CUDA": "0" if device.rehearsed else "1"}
        code = subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL
        ).returncode
        if device.rehearsed:
            yield {"files": len(files), "result": "passed" if code == 0 else "failed",
                   "why": f"exit status {code}" if code else ""}  # fmt: skip
            return
        yield from outcomes(report)


def outcomes(report: Path) -> Iterator[dict[str, Any]]:
    """A fact of each file of a report by pytest."""
    counts: dict[str, Counter[str]] = {}
    failed: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = case.get("classname", "")
        kinds = {child.tag for child in case}
        kind = next((k for k in ("failure", "error", "skipped") if k in kinds), "passed")
        counts.setdefault(name, Counter())[kind] += 1
        if kind in ("failure", "error"):
            failed.setdefault(name, []).append(case.get("name", ""))
    for name, count in counts.items():
        bad = failed.get(name, [])
        yield {"file": name, **count, "result": "failed" if bad else "passed",
               "why": "; ".join(bad[:10])}  # fmt: skip


def sanitized(tool: str) -> Iterator[dict[str, Any]]:
    """Every op at small sizes under one of compute-sanitizer's tools."""
    if shutil.which("compute-sanitizer") is None:
        raise NotAvailable("there is no compute-sanitizer")
    command = [
        "compute-sanitizer", "--error-exitcode", "1", "--tool", tool, *TOOLS[tool],
        sys.executable, str(ROOT / "benchmarks" / "gpu"), "--small",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    print(done.stdout)
    said = [line for line in done.stdout.splitlines() if " SUMMARY" in line]
    if done.returncode != 0 and not said:
        raise NotAvailable(f"exit status {done.returncode}: {done.stdout[-300:]}")
    yield {"said": said[-1].strip("= ") if said else "", "cases": done.stdout.count(": right\n"),
           "result": "failed" if done.returncode else "passed",
           "why": f"exit status {done.returncode}" if done.returncode else ""}  # fmt: skip
