"""``make sanitize``: the CPU's ops and the emulated CUDA kernels under ASan and UBSan.

Builds the package with both sanitizers into build/sanitize (nothing is installed), makes hostile
calls of every op, and runs the tests of the ops. The first thing that either sanitizer finds ends
the process that did it, and its report is printed. No network. Eight minutes on two idle cores.
"""

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "build" / "sanitize" / "lib"
REPORTS = ROOT / "build" / "sanitize" / "reports"
NEEDED = ("torch", "numpy", "pybind11", "pytest", "xdist", "hypothesis")
ALL_SECONDS = 16 * 60  # of the 20 minutes of .ci/run sanitize, which sets up .venv before
# By what they cost: most of the time goes into definitions in plain torch, which are not sanitized.
TESTS = (
    "compact", "compact_cuda_emulated", "contract", "cuda_emulated", "exchange", "expand",
    "frame_grid", "frame_grid_cuda_emulated", "gate_host", "gate_ops", "gate_subpixel",
    "gate_subpixel_cuda_emulated", "gate_cuda_emulated", "gather", "nearest_token",
    "residual_attention", "row_distance", "segment_mean",
)  # fmt: skip
# It takes minutes, nearly all of them in the definition; the same settings are drawn for the
# emulated kernel and the op in test_gate_cuda_emulated.py, and for hostile calls.
LEFT_OUT = "tests/gate/test_gate_ops.py::test_op_equals_reference_state_included"
CALLS = 20_000


def environment() -> dict[str, str]:
    """What an instrumented library needs in a Python that is not instrumented."""
    # libstdc++ with it: else ASan does not find what throws exceptions, and ends at the first.
    libraries = [
        subprocess.run(
            ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    if not all(Path(library).is_absolute() for library in libraries):
        sys.exit("FAILED: gcc has no libasan here")
    log = f"log_path={REPORTS / 'report'}"  # pytest loses what a process writes before it dies
    return os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        # Python and torch leak by design. A request that is too large is refused as malloc does.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=2048"
        f":detect_stack_use_after_return=0:abort_on_error=0:{log}",
        "UBSAN_OPTIONS": f"print_stacktrace=1:halt_on_error=1:{log}",
        "PYTHONPATH": str(LIBRARY),
        "OMP_NUM_THREADS": "2",
        "PYTHONUNBUFFERED": "1",
    }


def run(name: str, command: list[str], until: float, env: dict[str, str]) -> None:
    """One step; ends everything if it fails or takes too long."""
    print(f"\n== {name}", flush=True)
    begin = time.monotonic()
    limit = max(1.0, until - begin)
    child = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True)
    try:
        code = child.wait(limit)
    except subprocess.TimeoutExpired:
        sys.exit(f"FAILED: {name} took more than {limit:.0f} s")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # what it has started, too
        child.wait()
    print(f"== {name}: {'passed' if code == 0 else 'FAILED'}, {time.monotonic() - begin:.0f} s")
    reports = [text for text in map(read, sorted(REPORTS.glob("report.*"))) if is_finding(text)]
    for report in reports[:5]:
        print(f"\n{report[:6000]}", flush=True)
    if code != 0 or reports:
        sys.exit(f"FAILED: {name} (exit status {code}, {len(reports)} reports)")


def read(path: Path) -> str:
    """What a sanitizer wrote."""
    return path.read_text(errors="replace")


def is_finding(report: str) -> bool:
    """Whether it is more than a warning: ASan warns of each allocation that it refuses, which is
    what a hostile call is meant to ask for.
    """
    return "ERROR: " in report or "runtime error: " in report


def main() -> None:
    parser = argparse.ArgumentParser(description="ASan and UBSan over all ops.")
    parser.add_argument("--calls", type=int, default=CALLS, help="hostile calls")
    parser.add_argument("--no-tests", action="store_true", help="hostile calls only")
    given = parser.parse_args()
    if absent := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        sys.exit(f"FAILED: python packages are missing here: {', '.join(absent)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("FAILED: ended from outside"))
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    python, until = sys.executable, time.monotonic() + ALL_SECONDS
    build = [python, "setup.py", "-q", "build", "--build-lib", str(LIBRARY)]
    run("build", build, until, os.environ | {"PATCHGATE_CUDA": "0", "PATCHGATE_SANITIZE": "1"})
    instrumented = environment()
    check = "import patchgate._ops as o; print(o.__file__)"
    run("it loads", [python, "-c", check], until, instrumented)
    hostile = [python, "tests/hostile", "--calls", str(given.calls)]
    run("hostile calls", hostile, until, instrumented)
    if not given.no_tests:
        tests = [str(next(ROOT.glob(f"tests/*/test_{name}.py"))) for name in TESTS]
        tests += ["tests/cli/test_hostile.py::test_every_op_is_called", "--deselect", LEFT_OUT]
        share = ["-n", "2", "--dist", "worksteal", "--maxfail", "1", "-p", "no:cacheprovider"]
        pytest = [python, "-m", "pytest", "-q", *share, *tests]
        run("tests of the ops", pytest, until, instrumented)
    print("PASSED: neither ASan nor UBSan found anything")


if __name__ == "__main__":
    main()
