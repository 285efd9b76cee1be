"""benchmarks/stages: budgets, items that fail, hang or die, runs that are killed. No torch."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from stages import STAGES, Stage, carry
from stages import run as stages_run
from stages.facts import Facts, read, told
from stages.run import Run

CASES = Path(__file__).resolve().parents[1] / "cases"


@pytest.fixture(autouse=True)
def _cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CASES))
    monkeypatch.setattr(stages_run, "unpacked", lambda folder: None)


def ran(folder: Path, module: str, seconds: float = 30) -> list[dict[str, Any]]:
    """The facts of a stage that is one of tests/cases."""
    stage = Stage("a test", module, seconds, seconds)
    Run("a", folder, seconds, False, stage).run()
    return list(read(folder / "a.jsonl"))


def test_whatever_becomes_of_an_item_is_a_fact_and_the_next_one_runs(tmp_path: Path) -> None:
    facts = ran(tmp_path, "stage_cases")
    results = [(fact["item"], fact["result"], fact.get("kernel")) for fact in facts]
    assert results == [
        ("first", "passed", "gate"),
        ("raises", "passed", "gather"),  # what it had learnt before it raised
        ("raises", "failed", "gather"),
        ("hangs", "passed", "gather"),
        ("hangs", "stopped", "gather"),
        ("dies", "failed", "compact"),
        ("breaks the device", "passed", None),
        ("breaks the device", "failed", None),
        ("lacks something", "not available", None),
        ("last", "passed", None),
    ]
    why = {fact["item"]: fact["why"] for fact in facts if "why" in fact}
    assert why == {
        "raises": "ValueError: not so",
        "hangs": "not done after 0.5 s, its limit",
        "dies": "its process ended (SIGSEGV)",
        "breaks the device": "the device could not be used after it",
        "lacks something": "there is no decoder",
    }
    # A process that is lost takes nothing with it, and is replaced.
    first, last = (fact["process"] for fact in facts if "process" in fact)
    assert first != last
    assert {fact["device"] for fact in facts} == {"a device"}
    assert all(fact["date"] and fact["commit"] and fact["stage"] == "a" for fact in facts)
    assert "ValueError: not so" in (tmp_path / "log").read_text()


def test_a_stage_ends_within_its_budget_and_says_what_it_left_out(tmp_path: Path) -> None:
    begin = time.monotonic()
    facts = ran(tmp_path, "stage_slow", 4)
    assert time.monotonic() - begin < 4
    assert len({fact["item"] for fact in facts}) == 100
    results = [fact["result"] for fact in facts]
    assert results[0] == "passed"
    assert results[-1] == "left out"
    assert set(results) <= {"passed", "stopped", "left out"}


def test_a_budget_of_nothing_leaves_everything_out(tmp_path: Path) -> None:
    (fact,) = ran(tmp_path, "stage_slow", 0)
    assert (fact["item"], fact["result"]) == ("a test", "left out")


@pytest.mark.parametrize("module", ["stage_slow", "stage_stuck"])
def test_a_run_that_is_killed_leaves_its_facts_and_no_process(tmp_path: Path, module: str) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from stages import Stage; from stages.run import Run\n"
        "stage = Stage('a test', sys.argv[2], 60, 60)\n"
        "Run('a', Path(sys.argv[1]), 60, True, stage).run()"
    )
    paths = os.pathsep.join([str(carry.ROOT / "benchmarks"), str(CASES)])
    command = [sys.executable, "-c", code, str(tmp_path), module]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths})
    path = tmp_path / "a.jsonl"
    while not path.exists() or len(path.read_text().splitlines()) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    facts = list(read(path))
    assert [fact["number"] for fact in facts[:3]] == [0, 1, 2]
    until = time.monotonic() + 10
    while Path(f"/proc/{facts[0]['process']}").exists():
        assert time.monotonic() < until, "its process goes on"
        time.sleep(0.02)


def test_a_library_that_does_not_load_is_built_where_it_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages_run.shutil, "which", lambda name: None)
    carried, built = ran(tmp_path, "stage_without_library")
    assert (carried["item"], carried["result"]) == ("the library, as carried", "failed")
    assert carried["why"] == "ImportError: patchgate's native library is missing"
    assert (built["result"], built["why"]) == ("not available", "there is no cmake, or no nvcc")


def test_a_library_that_was_built_and_does_not_load_either_is_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages_run.shutil, "which", lambda name: f"/bin/{name}")
    calls: list[list[str]] = []

    def build(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[0] == "nvidia-smi":
            return subprocess.CompletedProcess(command, 0, "9.0\n")
        assert options["timeout"] <= stages_run.BUILD_SECONDS
        assert options["env"]["CUDAARCHS"] == "90-real"
        calls.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(stages_run.subprocess, "run", build)
    monkeypatch.setattr(stages_run, "commit", lambda: "1234567")
    facts = ran(tmp_path, "stage_without_library")
    assert [fact["result"] for fact in facts] == ["failed", "passed", "failed"]
    assert facts[-1]["why"].startswith("it could not begin: ImportError")
    assert [command[1:3] for command in calls] == [["setup.py", "-q"]]


def test_where_no_other_process_begins_the_rest_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a device that an item has made unusable for all processes."""
    monkeypatch.setenv("STAGE_CASES_BEGIN", str(tmp_path / "begun"))
    results = [(fact["item"], fact["result"]) for fact in ran(tmp_path, "stage_once")]
    assert results == [
        ("first", "passed"),
        ("hangs", "passed"),
        ("hangs", "stopped"),
        ("a test", "failed"),
        ("last", "left out"),
    ]


def test_stages_share_a_budget_and_the_exit_status_is_that_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, float]] = []

    class Pretended:
        def __init__(self, letter: str, folder: Path, seconds: float, rehearsed: bool) -> None:
            asked.append((letter, seconds))
            self._facts = Facts(folder, letter, "rehearsal", "1234567")

        def run(self) -> None:
            for kernel in (*stages_run.KERNELS, *stages_run.MODES):
                self._facts.add("item", {"kernel": kernel, "ran": True, "result": result})

    monkeypatch.setattr(stages_run, "Run", Pretended)
    result = "passed"
    assert stages_run.run("bcd", tmp_path, 480, False)
    assert [letter for letter, _ in asked] == ["b", "c", "d"]
    assert [round(seconds) for _, seconds in asked] == [180, 180, 480]
    result = "stopped"
    assert not stages_run.run("c", tmp_path, None, True)
    assert asked[-1] == ("c", STAGES["c"].rehearsed)
    monkeypatch.setattr(stages_run, "KERNELS", (*stages_run.KERNELS, "another"))
    result = "passed"
    (tmp_path / "a.jsonl").unlink(missing_ok=True)
    monkeypatch.setattr(Pretended, "run", lambda self: self._facts.add("item", {"ran": True}))
    assert not stages_run.run("a", tmp_path, None, True)
    assert "did not run: frame_grid" in capsys.readouterr().out


def test_a_line_that_was_cut_off_is_no_fact(tmp_path: Path) -> None:
    Facts(tmp_path, "a", "a device", "1234567").add("one", {"us": 3.5, "why": "", "floor us": None})
    path = tmp_path / "a.jsonl"
    with path.open("a") as file:
        file.write('{"stage": "a", "ite')
    (fact,) = read(path)
    assert "why" not in fact
    assert "floor us" not in fact
    assert told(fact) == "a passed        one: us 3.5"
    Facts(tmp_path, "a", "a device", "1234567").add("two", {})
    assert [fact["item"] for fact in read(path)] == ["one", "two"]


def test_every_line_is_json_whatever_is_in_it(tmp_path: Path) -> None:
    facts = Facts(tmp_path, "a", "a device", "1234567")
    for why in ("one\u2028line", "\x85", "\udc80"):
        facts.add("an item", {"why": why, "far": float("nan")})
    lines = (tmp_path / "a.jsonl").read_text("ascii").splitlines()

    def refused(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    assert [json.loads(line, parse_constant=refused)["far"] for line in lines] == ["nan"] * 3
    assert next(fact["why"] for fact in read(tmp_path / "a.jsonl")) == "one\u2028line"


@pytest.mark.parametrize("budget", ["0", "-5", "nan", "inf", "ten"])
def test_a_budget_that_is_none_is_refused(tmp_path: Path, budget: str) -> None:
    done = command("run", "a", "--out", str(tmp_path / "out"), f"--budget={budget}")
    assert done.returncode == 2
    assert f"expected a number above 0, got {budget!r}" in done.stderr


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = command("run", "a", "--out", str(tmp_path / "file"), "--rehearse")
    assert done.returncode == 2
    assert "expected a folder that can be written to, got" in done.stderr


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """``python benchmarks/stages`` with these."""
    program = str(carry.ROOT / "benchmarks" / "stages")
    return subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True)


def test_rehearsals_fit_their_time() -> None:
    assert sum(stage.rehearsed for stage in STAGES.values()) <= 300


def test_what_travels_is_told_for_each_stage_and_may_be_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(carry, "FOLDER", tmp_path)
    monkeypatch.setattr(carry, "CARRIED", tmp_path / "commit")
    monkeypatch.setattr(carry, "ROOT", tmp_path)
    for name, size in {"LIBRARY": 3, "PACKAGES": 20, "FILMS": 5}.items():
        monkeypatch.setattr(carry, name, tmp_path / name)
        (tmp_path / name).write_bytes(bytes(size * carry.MIB))
    (tmp_path / "source").write_bytes(bytes(10 * carry.MIB))
    monkeypatch.setattr(carry, "repository", lambda: ["source"])
    for name in ("bring_packages", "make_films"):
        monkeypatch.setattr(carry, name, lambda *given: None)
    monkeypatch.setattr(carry, "lacking", lambda: "")
    assert carry.carry(40, "3.12")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a: 13.0 MiB: the repository 10.0, LIBRARY 3.0")
    assert lines[3].startswith("d: 38.0 MiB: the repository 10.0, LIBRARY 3.0, ")
    assert not carry.carry(30, "3.12")
    assert "   FAILED: more than 30 MiB" in capsys.readouterr().out.splitlines()
    monkeypatch.setattr(carry, "lacking", lambda: "the library is not built")
    capsys.readouterr()
    assert not carry.carry(30, "3.12")
    said = capsys.readouterr().out
    assert said.count("FAILED: the library is not built") == len(STAGES)
    assert said.count("FAILED: more than 30 MiB") == 1


def test_of_a_wheel_only_what_is_imported_travels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zipfile

    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in (
            "some/__init__.py",
            "some/_core.so",
            "some.libs/a.so",
            "some/core.pyx",
            "samples/a.py",
            "some-1.data/data/source.tar",
            "some-1.dist-info/METADATA",
        ):
            archive.writestr(name, name)  # fmt: skip
    found = dict(carry.kept(wheel))
    assert sorted(found) == [
        "some-1.dist-info/METADATA", "some.libs/a.so", "some/__init__.py", "some/_core.so",
    ]  # fmt: skip
    monkeypatch.setattr(carry, "PACKAGES", tmp_path / "site.zip")
    assert carry.unpacked(tmp_path / "site") is None
    with zipfile.ZipFile(carry.PACKAGES, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in found.items():
            archive.writestr(name, content)
    assert carry.unpacked(tmp_path / "site") == tmp_path / "site"
    assert (tmp_path / "site" / "some" / "_core.so").read_bytes() == b"some/_core.so"
