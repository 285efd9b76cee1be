"""``make gpu``'s runner: steps, limits and the verdict. The steps themselves need a GPU."""

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_suite", ROOT / ".ci" / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(suite: ModuleType, code: str, seconds: int = 60, needs: str = "", until: float = 60):
    step = suite.Step("a step", [sys.executable, "-c", code], seconds, needs)
    return suite.run(step, time.monotonic() + until)


def test_a_step_passes_fails_or_is_stopped(suite: ModuleType) -> None:
    assert run(suite, "pass").verdict == "passed"
    assert run(suite, "raise SystemExit(3)").verdict == "FAILED (3)"
    assert run(suite, "import time; time.sleep(60)", 1).verdict == "FAILED (took more than 1 s)"
    assert "FAILED" in run(suite, "import time; time.sleep(60)", until=1).verdict


def test_a_step_without_its_program_is_left_out(suite: ModuleType) -> None:
    outcome = run(suite, "raise SystemExit(1)", needs="no-such-program")
    assert outcome.verdict == "left out: no no-such-program here"


@pytest.mark.parametrize("folder", ["", "carried"])
def test_steps_see_the_built_package_and_may_not_skip(
    suite: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """The package comes before what the caller's PYTHONPATH has, which is still seen."""
    monkeypatch.setenv("PYTHONPATH", folder)
    expected = [str(suite.LIBRARY), *filter(None, [folder])]
    code = (
        "import os\n"
        "assert os.environ['PATCHGATE_REQUIRE_CUDA'] == '1'\n"
        f"assert os.environ['PYTHONPATH'].split(os.pathsep) == {expected}"
    )
    assert run(suite, code).verdict == "passed"


def test_the_verdict_comes_last(suite: ModuleType) -> None:
    passed, failed = suite.Outcome("a", "passed", 1), suite.Outcome("b", "FAILED (1)", 2)
    left = suite.Outcome("c", "left out: no x here", 0)
    assert suite.summary([passed]).endswith("\nPASSED")
    assert suite.summary([passed, left]).endswith("\nPASSED; left out: c")
    assert suite.summary([passed, failed]).endswith("\nFAILED: b")


def test_the_plan_holds_every_gpu_test_and_fits_its_time(suite: ModuleType) -> None:
    """Tests that need a GPU are in files of that name, which are run whole."""
    plan = suite.steps("python")
    tests = [word for step in plan for word in step.command if word.startswith("tests/")]
    marked = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytest.mark." + "needs_cuda" in path.read_text()
    ]
    assert sorted(tests) == marked
    assert suite.ALL_SECONDS < 600


@pytest.mark.parametrize("here", [True, False])
def test_tests_run_side_by_side_where_they_can(
    suite: ModuleType, monkeypatch: pytest.MonkeyPatch, here: bool
) -> None:
    monkeypatch.setattr(suite, "missing", lambda names: [] if here else list(names))
    commands = [step.command for step in suite.steps("python") if "pytest" in step.command]
    assert [("-n" in command) for command in commands] == [here, False]  # films: one at a time


def test_missing_packages_are_told(suite: ModuleType) -> None:
    assert suite.missing() == []
    assert suite.missing(["torch", "no_such_package"]) == ["no_such_package"]
