"""However a command ends, it says so in a line: signals, input that is damaged, odd names."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import clips
import numpy as np
import pytest
from typer.testing import CliRunner

from patchgate._check.text import escaped
from patchgate.cli import app
from patchgate.report.picture import printable

SMALL = ["--size", "42,56"]
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "patchgate.cli", *(str(word) for word in words)]


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


# ---- signals


@pytest.fixture(scope="module")
def endless(tmp_path_factory) -> Path:
    """A clip that takes seconds: small frames on a large grid."""
    return clips.write(tmp_path_factory.mktemp("ends") / "long.mp4", frames=600)


def ended(words: list[str], folder: Path, *numbers: int) -> tuple[int, str]:
    """Sends signals once a hidden folder is there; the exit code and what was said."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(folder.glob(".*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.3)  # into the work
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.01)
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_plan_that_is_ended_leaves_nothing(tmp_path, endless, number, code) -> None:
    words = command("plan", endless, "--frames", 4, "-o", tmp_path / "p.html", "--size", 980)
    returned, said = ended(words, tmp_path, number)
    assert (returned, said) == (code, "patchgate: interrupted: nothing was written\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [
    ["inspect", "--overlay", "o.mp4"], ["inspect", "-o", "p.html"], ["plan", "-o", "p.html"],
])  # fmt: skip
def test_a_second_kill_changes_nothing(tmp_path, endless, words) -> None:
    name, option, output = words
    line = command(name, endless, option, tmp_path / output, "--size", 980)
    returned, said = ended(line, tmp_path, signal.SIGTERM, signal.SIGTERM, signal.SIGTERM)
    assert (returned, said) == (143, "patchgate: interrupted: nothing was written\n")
    assert not list(tmp_path.iterdir())


# ---- what plan is given


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _zip() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.ones(3))
    return file.getvalue()


BROKEN = {
    "strings": npy(np.array(["a"] * 30)),
    "dates": npy(np.zeros(30, "M8[s]")),
    "complex": npy(np.zeros(30, complex)),
    "fields": npy(np.zeros(30, [("a", "f4")])),
    "several": _zip(),
    "a cut zip": _zip()[:90],
    "a cut header": npy(np.ones(30))[:60],
    "cut": npy(np.ones(30))[:150],
    "empty": b"",
    "a header that does not end": npy(np.ones(30)).replace(b"(30,), }", b"((((,), "),
    "more numbers than are there": npy(np.ones(30)).replace(b"(30,), }   ", b"(3000000,), }"[:11]),
    "text": b"0.1 0.2 0.3",
    "a pickle": b"\x80\x04K\x01.",
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize(("option", "policy"), [("--scores", "aks"), ("--features", "maxinfo")])
def test_a_file_of_no_numbers_is_told_in_a_line(tmp_path, kind, option, policy) -> None:
    (tmp_path / "x.npy").write_bytes(BROKEN[kind])
    result = run("plan", clips.clip("h264.mp4"), "--policy", policy, "--frames", 3,
                 option, tmp_path / "x.npy")  # fmt: skip
    assert result.exit_code == 1, result.exception
    assert result.stderr.startswith(f"patchgate: error: {tmp_path / 'x.npy'}: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("dtype", [">f4", "<i8", ">i2", "f2", np.longdouble, bool, "u1"])
def test_numbers_of_every_kind_are_scores(tmp_path, dtype) -> None:
    video, plans = clips.clip("h264.mp4"), []
    values = np.arange(40) % 7 > 4 if dtype is bool else np.arange(40) * 3 % 11
    for kind in (np.float64, dtype):
        np.save(tmp_path / "s.npy", values.astype(kind))
        result = run("plan", video, "--policy", "date", "--frames", 5, "--json",
                     "--scores", tmp_path / "s.npy")  # fmt: skip
        assert result.exit_code == 0, (result.output, result.exception)
        plans.append(result.stdout.replace(str(np.dtype(kind)), ""))
    assert plans[0] == plans[1]


def test_what_ffmpeg_cannot_do_is_told_in_a_line(tmp_path, monkeypatch) -> None:
    """Not all of its errors are OSError or ValueError."""
    error = av.error.PatchWelcomeError(1163346256, "Not yet implemented in FFmpeg", "x.png")
    assert not isinstance(error, (OSError, ValueError))

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("patchgate.cli.plan.container_frames", refuse)
    result = run("plan", clips.clip("h264.mp4"), "--frames", 3)
    assert result.exit_code == 1
    assert result.stderr.startswith("patchgate: error: ")
    assert "Not yet implemented" in result.stderr


# ---- names


@pytest.mark.parametrize(("text", "shown"), [
    ("plain \u00e9 \u65e5\u672c \U0001f469\u200d\U0001f373 100%", None),
    ("a\x1b[31mb\x07\r\n\tc\x7f\x9b", r"a\x1b[31mb\x07\r\n\tc\x7f\x9b"),
    ("evil\u202e4pm.exe\u2066\u2028", r"evil\u202e4pm.exe\u2066\u2028"),
    (os.fsdecode(b"b\xff"), r"b\udcff"),
])  # fmt: skip
def test_control_characters_are_spelled_out(text, shown) -> None:
    assert escaped(text) == (text if shown is None else shown)
    assert escaped(escaped(text)) == escaped(text)


def test_a_page_takes_every_name() -> None:
    assert printable(os.fsdecode(b"b\xff\x1b")) == "b\ufffd\\x1b"


NAME = "x\x1b]0;owned\x07\x1b[31m\u202e.mp4"


def test_names_with_control_characters_do_not_reach_the_terminal(tmp_path) -> None:
    clip, missing = tmp_path / NAME, tmp_path / f"no{NAME}"
    clip.write_bytes(clips.clip("h264.mp4").read_bytes())
    (tmp_path / f"cut{NAME}").write_bytes(clip.read_bytes()[:3000])
    page = tmp_path / f"{NAME}.html"
    lines = [
        (["info", clip], 0), (["info", missing], 1), (["info", clip, NAME], 2), ([NAME], 2),
        (["info", f"--{NAME}", clip], 2), (["info", tmp_path / f"cut{NAME}"], None),
        (["tokenize", clip, "-o", tmp_path / f"{NAME}.safetensors", *SMALL], 0),
        (["tokenize", clip, "-o", tmp_path / f"no{NAME}" / "t.safetensors", *SMALL], 1),
        (["inspect", clip, "-o", page, *SMALL], 0), (["inspect", clip, "-o", tmp_path / NAME], 2),
        (["inspect", clip, "--size", NAME, "-o", page], 2),
        (["plan", clip, "--frames", 2], 0), (["plan", clip, "--policy", NAME], 2),
        (["plan", clip, "--policy", "date", "--scores", missing], 1),
        (["advise", clip, *SMALL], 0), (["advise", missing], 1),
    ]  # fmt: skip
    for words, code in lines:
        result = run(*words)
        assert code is None or result.exit_code == code, (words, result.output, result.exception)
        said = result.stdout + result.stderr
        assert not set(said) & set("\x1b\x07\u202e"), words
        assert "x1b]0;" in said.replace("\n", "").replace("\u2502", "").replace(" ", ""), words
    assert not set(page.read_text()) & set("\x1b\x07\u202e")
    assert "x\\x1b]0;owned" in page.read_text()
