"""Help, the version and wrong options: answered at once, without torch."""

import os
import resource
import subprocess
import sys

import pytest

import patchgate
from patchgate.cli.commands import app

COMMANDS = [str(each.callback.__name__) for each in app.registered_commands]
HEAVY = ("torch", "av", "matplotlib", "transformers")
# As the installed script does it, and then which of the large libraries were imported.
SCRIPT = f"""
import sys
sys.argv[0] = "/usr/bin/patchgate"
try:
    from patchgate.cli import main
    main()
finally:
    print("imported:", [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True)


def test_the_commands_are_known() -> None:
    first = ["tokenize", "embed", "corpus", "info", "inspect", "advise", "bench", "plan"]
    assert [*first, "live", "doctor"] == COMMANDS


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--help"], 0, "Commands"),
        ([], 2, "Commands"),
        (["--version"], 0, f"patchgate {patchgate.__version__}\n"),
        *[([name, "--help"], 0, "--json") for name in COMMANDS],
        (["inspect", "-h"], 0, "qwen3-vl"),
        (["tokenise"], 2, "No such command"),
        (["inspect", "a.mp4", "--tresholds", "3"], 2, "--threshold"),
        (["plan", "a.mp4", "--frames", "few"], 2, "--frames"),
        (["bench"], 2, "Missing argument"),
        (["live", "a=tcp://127.0.0.1:1", "--web", "here"], 2, "--web"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nothing_large_is_imported(words, code, said) -> None:
    done = run(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1] == "imported: []"


def test_a_command_that_works_imports_torch() -> None:
    """The test above looks at the right place."""
    done = run("plan", "--policies")
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stderr.splitlines()[-1]


def test_help_takes_less_than_a_second_of_the_processor() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "patchgate", "--help"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 1


@pytest.mark.parametrize("module", ["patchgate", "patchgate.cli"])
def test_python_dash_m(module) -> None:
    words = [sys.executable, "-m", module, "--version"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"patchgate {patchgate.__version__}\n")


def test_the_version_is_that_of_the_library() -> None:
    assert patchgate.build_info()["version"] == patchgate.__version__


def test_the_public_names_come_into_a_program_of_our_commands_name() -> None:
    """Somebody's own script may be called patchgate, too."""
    program = """
import sys
sys.argv[0] = "patchgate"
import patchgate
assert "torch" not in sys.modules
assert not hasattr(patchgate, "nothing")
assert patchgate.policies.uniform and patchgate.Gate().settings.threshold == 4
missing = [name for name in patchgate.__all__ if not hasattr(patchgate, name)]
import torch
assert torch.ops.patchgate.gate
print(missing)
"""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True,
                          text=True)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
