"""``make gpu``: everything that needs a GPU, in one go, in under ten minutes, with no network.

Builds the package into build/gpu (nothing is installed), then tests, measures and sanitizes it.
Where cmake or nvcc is missing, libraries that lie beside the sources are taken. Ends with a table
of the steps and a verdict; the exit status is 0 only if all of them passed.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "build" / "gpu" / "lib"
NEEDED = (
    "torch", "triton", "numpy", "av", "safetensors", "transformers", "pytest", "hypothesis",
)  # fmt: skip
ALL_SECONDS = 9.5 * 60


class Step(NamedTuple):
    name: str
    command: Sequence[str]
    seconds: int  # at most
    needs: str = ""  # a program without which the step is left out


class Outcome(NamedTuple):
    name: str
    verdict: str  # "passed", "FAILED", "left out: ..."
    seconds: float


def steps(python: str) -> list[Step]:
    """What is run once the package is built, in this order."""
    small = [python, "benchmarks/gpu", "--small"]
    pytest = [python, "-m", "pytest", "-q"]
    tests = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/gpu/test_*_cuda.py"))
    films = [name for name in tests if "nvdec" in name]
    kernels = [name for name in tests if name not in films]
    # Most of the tests' time goes into compiling some hundreds of Triton kernels, on one core each.
    together = [] if missing(["xdist"]) else ["-n", "8", "--dist", "worksteal"]
    sanitizer = ["compute-sanitizer", "--error-exitcode", "1", "--tool"]
    # Not the calls that torch and Triton make to find out what the driver can do, and may fail.
    memcheck = [*sanitizer, "memcheck", "--report-api-errors", "no"]
    return [
        Step("CPU = GPU, opcheck, capture", [*pytest, *together, *kernels], 300),
        Step("small sizes", small, 120),
        Step("benchmarks", [python, "benchmarks/gpu"], 180),
        Step("NVDEC = PyAV", [*pytest, *films], 90),
        Step("NVDEC: open questions", [python, "benchmarks/gpu/nvdec_questions.py"], 60),
        Step("memcheck", [*memcheck, *small], 150, "compute-sanitizer"),
        Step("racecheck", [*sanitizer, "racecheck", *small], 150, "compute-sanitizer"),
    ]


def missing(modules: Sequence[str] = NEEDED) -> list[str]:
    """Python packages that are not here."""
    return [name for name in modules if importlib.util.find_spec(name) is None]


def build(python: str) -> Step:
    """The package with its kernels/ in one folder, as an installation would have it."""
    if shutil.which("cmake") and shutil.which("nvcc"):
        command = [python, "setup.py", "-q", "build", "--build-lib", str(LIBRARY)]
        return Step("build", command, 300)
    carried = [str(path) for path in (ROOT / "python" / "patchgate").glob("*.so")]
    code = (
        "import shutil, subprocess, sys\n"
        "subprocess.check_call([sys.executable, 'setup.py', '-q', 'build_py', '--build-lib', "
        f"{str(LIBRARY)!r}])\n"
        f"for path in {carried!r}: shutil.copy(path, {str(LIBRARY / 'patchgate')!r})"
    )
    return Step("libraries as carried (no cmake or no nvcc)", [python, "-c", code], 60)


def run(step: Step, until: float) -> Outcome:
    """One step; stopped at its own limit or when all time is up."""
    if step.needs and shutil.which(step.needs) is None:
        return Outcome(step.name, f"left out: no {step.needs} here", 0)
    print(f"\n== {step.name}", flush=True)
    environment = os.environ | {
        "PATCHGATE_CUDA": "1",
        "PATCHGATE_REQUIRE_CUDA": "1",  # a test that would skip for want of a GPU fails
        # What is not installed may lie in a folder that the caller named: no network, no installs.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(LIBRARY), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
    }
    start = time.monotonic()
    try:
        limit = max(1, min(step.seconds, until - start))
        code = subprocess.run(step.command, cwd=ROOT, env=environment, timeout=limit).returncode
        verdict = "passed" if code == 0 else f"FAILED ({code})"
    except subprocess.TimeoutExpired:
        verdict = f"FAILED (took more than {limit:.0f} s)"
    return Outcome(step.name, verdict, time.monotonic() - start)


def summary(outcomes: Sequence[Outcome]) -> str:
    """The steps and a verdict."""
    lines = [f"{each.name:45} {each.verdict:40} {each.seconds:6.0f} s" for each in outcomes]
    failed = [each.name for each in outcomes if each.verdict.startswith("FAILED")]
    left = [each.name for each in outcomes if each.verdict.startswith("left out")]
    verdict = f"FAILED: {', '.join(failed)}" if failed else "PASSED"
    return "\n".join([*lines, verdict + (f"; left out: {', '.join(left)}" if left else "")])


def main() -> None:
    parser = argparse.ArgumentParser(description="Everything that needs a GPU.")
    parser.add_argument("--list", action="store_true", help="print the steps, run nothing")
    given = parser.parse_args()
    plan = [build(sys.executable), *steps(sys.executable)]
    if given.list:
        print("\n".join(f"{step.name}: {' '.join(step.command)}" for step in plan))
        return
    if absent := missing():
        sys.exit(f"FAILED: python packages are missing here: {', '.join(absent)}")
    until = time.monotonic() + ALL_SECONDS
    outcomes = [run(plan[0], until)]
    if outcomes[0].verdict == "passed":
        outcomes += [run(step, until) for step in plan[1:]]
    print("\n" + summary(outcomes))
    sys.exit(any(each.verdict.startswith("FAILED") for each in outcomes))


if __name__ == "__main__":
    main()
