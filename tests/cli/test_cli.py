"""The command line, as a user and as a script meet it."""

import dataclasses
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import clips
import pytest
from safetensors import safe_open
from typer.testing import CliRunner

import patchgate
from patchgate.cli import app
from patchgate.cli.commands.encode import POOLS
from patchgate.cli.commands.options import GateOptions, OpenOptions
from patchgate.cli.commands.typed import parsed_size
from patchgate.cli.signals import Stop, Stopped
from patchgate.decode.source.access import Access
from patchgate.encoders.run.fidelity import DEFAULT_TOLERANCE
from patchgate.pipeline.embedding import Pool

TESTS = Path(__file__).parents[1]
SMALL = ["--size", "42,56"]
WRITTEN = {"tokenize": "t.safetensors", "inspect": "t.png"}
EVERY_COMMAND = list(WRITTEN)


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def command(*words):
    return [sys.executable, "-m", "patchgate.cli", *map(str, words)]


def test_options_have_the_defaults_of_the_gate():
    parameters = inspect.signature(patchgate.Gate).parameters
    want = {name: parameter.default for name, parameter in parameters.items()}
    want["size"] = (378, 378)
    assert dataclasses.asdict(GateOptions().gate().settings) == want
    assert set(want) | {"no_scene_cut", "grid"} == set(vars(GateOptions()))


def test_other_options_have_the_defaults_of_the_library():
    """They are written out, since the library's own are imported with torch."""
    access = Access()
    assert OpenOptions().open_timeout == access.open_timeout
    assert OpenOptions().read_timeout == access.read_timeout
    shown = re.sub(r"[^a-z0-9.]", "", run("bench", "--help").stdout + run("embed", "--help").stdout)
    assert shown.count(f"default{DEFAULT_TOLERANCE}") == 2
    assert get_args(Pool) == POOLS


def test_every_option_reaches_the_gate(tmp_path):
    words = shlex.split("""
        --threshold 6.5 --search-radius 3 --on-motion encode --no-scene-cut --max-age 5
        --patch 8 --merge 2 --temporal-patch 2 --sub-blocks 4 --no-chroma --hysteresis 0.5
        --noise adaptive --motion-precision 4 --memory 3 --size 32x64 --fit pad
    """)
    result = run(
        "tokenize", clips.clip("h264.mp4"), "-o", tmp_path / "t.safetensors", *words, "--json"
    )
    assert json.loads(result.stdout)["gate"] == {
        "threshold": 6.5, "search_radius": 3, "on_motion": "encode", "scene_cut": None,
        "max_age": 5, "patch": 8, "merge": 2, "temporal_patch": 2, "sub_blocks": 4,
        "chroma": False, "hysteresis": 0.5, "noise": "adaptive", "size": [32, 64], "fit": "pad",
        "motion_precision": 4, "memory": 3, "illumination": None,
    }  # fmt: skip
    layout = patchgate.VideoTokens.load(tmp_path / "t.safetensors").layout
    assert (layout.temporal_patch, layout.motion_precision) == (2, 4)
    words = ["--illumination", "global", "--size", "28"]
    told = run(
        "tokenize", clips.clip("h264.mp4"), "-o", tmp_path / "l.safetensors", *words, "--json"
    )
    assert json.loads(told.stdout)["gate"]["illumination"] == "global"
    assert patchgate.VideoTokens.load(tmp_path / "l.safetensors").weights is not None


@pytest.mark.parametrize(
    ("text", "size"), [("378", (378, 378)), ("42,56", (42, 56)), (" 42 x 56 ", (42, 56))]
)
def test_size(text, size):
    assert parsed_size(text) == size


def test_tokenize_writes_what_the_library_gives(tmp_path):
    clip = clips.clip("late.mp4")
    result = run("tokenize", clip, "-o", tmp_path / "t.safetensors", *SMALL, "--json", "--chunk", 5)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    tokens = patchgate.VideoTokens.load(tmp_path / "t.safetensors")
    want = patchgate.tokenize(clip, size=(42, 56))
    for name, tensor in want.tensors().items():
        assert tensor.equal(tokens.tensors()[name]), name
    assert facts["tokens"] == len(tokens)
    assert facts["frames"] == tokens.shape.T == 40
    assert facts["dense_tokens"] == 40 * 12
    assert facts["kept_share"] == pytest.approx(tokens.kept_share)
    assert facts["output_bytes"] == (tmp_path / "t.safetensors").stat().st_size
    assert facts["interrupted"] is False
    assert facts["warnings"] == []
    assert {"decode", "grid", "gate", "gather", "write", "total"} <= facts["seconds"].keys()


def test_tokenize_takes_a_part(tmp_path):
    clip = clips.clip("h264.mp4")
    result = run("tokenize", clip, "-o", tmp_path / "t.safetensors", *SMALL, "--start", 0.4,
                 "--end", 1.2, "--fps", 5, "--threads", 1)  # fmt: skip
    assert result.exit_code == 0, result.output
    want = patchgate.tokenize(clip, size=(42, 56), start=0.4, end=1.2, fps=5)
    assert patchgate.VideoTokens.load(tmp_path / "t.safetensors").pts_seconds.equal(
        want.pts_seconds
    )
    assert re.search(r"tokens +\d+ of \d+: .* kept", result.stdout)
    assert "\r" not in result.stderr, "no progress bar outside a terminal"


def test_info():
    result = run("info", clips.clip("late.mkv"), "--json")
    facts = json.loads(result.stdout)
    assert result.stderr == ""
    assert (facts["width"], facts["height"], facts["codec"]) == (64, 48, "h264")
    assert facts["begin_seconds"] == pytest.approx(1.562, abs=0.001)
    assert facts["build"] == patchgate.build_info()
    text = run("info", clips.clip("late.mkv")).stdout
    for fact in ("Matroska", "64 x 48", "h264", "25 frames/s", "bt601", "limited", "8 bit"):
        assert fact in text


def test_inspect(tmp_path):
    clip = clips.clip("h264.mp4")
    result = run("inspect", clip, "-o", tmp_path / "p.png", *SMALL, "--at", 0.5, "--at", 0.1,
                 "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert [moment["seconds"] for moment in facts["moments"]] == pytest.approx([0.08, 0.48])
    assert all(m["largest_sub_block_error"] <= m["limit"] for m in facts["moments"])
    assert facts["tokens"] == len(patchgate.tokenize(clip, size=(42, 56)))
    assert facts["sampled"]["1_fps"] == {"frames": 2, "tokens": 24}
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


@pytest.mark.parametrize("name", EVERY_COMMAND)
@pytest.mark.parametrize(
    "words",
    [
        ["--threshold", "nan"],
        ["--threshold", "-1"],
        ["--threshold", "256"],
        ["--search-radius", "128"],
        ["--on-motion", "sometimes"],
        ["--noise", "loud"],
        ["--size", "377"],
        ["--size", "big"],
        ["--size", "1,2,3"],
        ["--sub-blocks", "3"],
        ["--fps", "0"],
        ["--fps", "nan"],
        ["--start", "2", "--end", "1"],
        ["--end", "inf"],
        ["--chunk", "0"],
        ["--threads", "none"],
        ["--threads", "100000"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_exits_2_and_writes_nothing(tmp_path, name, words):
    result = run(name, clips.clip("h264.mp4"), "-o", tmp_path / WRITTEN[name], *words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Usage" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [*EVERY_COMMAND, "info", "bench", "advise"])
@pytest.mark.parametrize(
    ("clip", "message"),
    [("missing.mp4", "no such file"), ("text.txt", "not a video"), ("audio.m4a", "no video stream"),
     ("empty.mkv", "holds no frame")],
)  # fmt: skip
def test_bad_input_exits_1_with_one_line(tmp_path, name, clip, message):
    path = tmp_path / clip
    if clip in clips.CLIPS:
        path = clips.clip(clip)
    elif clip == "text.txt":
        path.write_text("no video " * 100)
    output = ["-o", tmp_path / WRITTEN[name]] if name in WRITTEN else []
    result = run(name, path, *output, "--json")
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / WRITTEN.get(name, "t")).exists()


@pytest.mark.parametrize("name", EVERY_COMMAND)
def test_output_that_cannot_be_written_exits_1(tmp_path, name):
    clip = clips.clip("h264.mp4")
    folder = (tmp_path / "d").with_suffix(Path(WRITTEN[name]).suffix)
    folder.mkdir()
    for output, message in (
        (tmp_path / "no" / WRITTEN[name], "no such folder"),
        (tmp_path / "no" / "t" / "", "no such folder"),
        (folder, "not a file"),
    ):
        if (name == "tokenize") == (output == folder) or (name == "inspect" and not output.suffix):
            continue  # a folder is a folder
        result = run(name, clip, "-o", output, *SMALL)
        assert result.exit_code == 1, result.output
        assert message in result.stderr


def test_no_frame_in_the_part_exits_1_and_keeps_the_older_file(tmp_path):
    (tmp_path / "t.safetensors").write_text("older")
    result = run("tokenize", clips.clip("h264.mp4"), "-o", tmp_path / "t.safetensors", "--force",
                 "--start", 100)  # fmt: skip
    assert result.exit_code == 1
    warning, error = result.stderr.splitlines()
    assert warning.startswith("patchgate: warning: ")
    assert error.startswith("patchgate: error: ")
    assert (tmp_path / "t.safetensors").read_text() == "older"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("clip.safetensors", ["tokenize", "-o"]),
        ("clip.png", ["inspect", "-o"]),
        ("clip.mp4", ["inspect", "--overlay"]),
        ("clip.mp4", ["inspect", "-o", "new.png", "--overlay"]),
    ],
)
@pytest.mark.parametrize("how", ["same", "hard link", "link"])
def test_the_video_itself_is_not_overwritten(tmp_path, monkeypatch, name, words, how):
    monkeypatch.chdir(tmp_path)
    clip, output = tmp_path / name, tmp_path / f"other.{name}"
    clip.write_bytes(clips.clip("h264.mp4").read_bytes())
    words = words[:1] + (["--force"] if words[0] == "tokenize" else []) + words[1:]
    if how == "same":
        output = clip
    else:
        (output.hardlink_to if how == "hard link" else output.symlink_to)(clip)
    result = run(words[0], clip, *words[1:], output)
    assert result.exit_code == 1
    assert "the video itself" in result.stderr
    assert clip.read_bytes() == clips.clip("h264.mp4").read_bytes()
    assert not (tmp_path / "new.png").exists()


def test_an_unknown_picture_format_is_wrong_usage(tmp_path):
    result = run("inspect", clips.clip("h264.mp4"), "-o", tmp_path / "p.bmp")
    assert result.exit_code == 2
    assert ".svg" in result.stderr


def test_damage_is_told_in_a_line_and_in_json(tmp_path):
    cut = clips.truncated(clips.clip("faststart.mp4"), tmp_path / "cut.mp4")
    result = run("tokenize", cut, "-o", tmp_path / "t.safetensors", *SMALL, "--json")
    assert result.exit_code == 0, result.output
    (warning,) = json.loads(result.stdout)["warnings"]
    assert "truncated" in warning
    assert result.stderr == f"patchgate: warning: {warning}\n"
    assert patchgate.VideoTokens.load(tmp_path / "t.safetensors").shape.T > 0


def test_version_and_help():
    assert run("--version").stdout == f"patchgate {patchgate.__version__}\n"
    for name in ("tokenize", "info", "inspect"):
        assert name in run("--help").stdout
        assert run(name, "--help").exit_code == 0
    done = subprocess.run(command(), capture_output=True, text=True, check=False)
    assert done.returncode == 2, "no command is wrong usage"


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """A clip that takes seconds to tokenize: half a minute of small frames on a large grid."""
    return clips.write(tmp_path_factory.mktemp("cli") / "long.mp4", frames=1500)


def interrupted(clip, output, *numbers, gap=0.0):
    """Starts tokenizing, and sends the signals once the first tokens are on the disk."""
    words = command("tokenize", clip, "-o", output, "--size", "980", "--json", "--chunk", "4")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any(p.stat().st_size for p in output.parent.glob(f".{output.name}.*/features")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for number in numbers:
        process.send_signal(number)
        time.sleep(gap)
    stdout, stderr = process.communicate(timeout=20)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_ctrl_c_leaves_a_valid_partial_file(tmp_path, endless, number, code):
    output = tmp_path / "t.safetensors"
    returned, stdout, stderr = interrupted(endless, output, number)
    assert returned == code, stderr
    facts = json.loads(stdout)
    assert facts["interrupted"] is True
    assert 0 < facts["frames"] < 1500
    assert f"holds the first {facts['frames']:,} frames" in stderr
    assert "Traceback" not in stderr
    written = tmp_path / "t.safetensors.incomplete"
    assert facts["output"] == str(written)
    assert facts["complete"] is False
    with safe_open(written, "pt") as file:
        assert file.metadata()["complete"] == "false"
    with pytest.warns(UserWarning, match=rf"first {facts['frames']:,} frames only"):
        tokens = patchgate.VideoTokens.load(written)
    want = patchgate.tokenize(endless, size=980, end=float(tokens.pts_seconds[-1]) + 0.001)
    assert tokens.source.equal(want.source)
    assert tokens.span.equal(want.span)
    assert tokens.features.equal(want.features)
    assert list(tmp_path.iterdir()) == [written]


def test_a_second_ctrl_c_leaves_nothing(tmp_path, endless):
    output = tmp_path / "t.safetensors"
    # two signals, as two of the same kind may arrive as one
    returned, stdout, stderr = interrupted(endless, output, signal.SIGINT, signal.SIGTERM)
    assert returned == 130
    assert stdout == ""
    assert stderr == "patchgate: interrupted: nothing was written\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("gap", [0.003, 0.03])
def test_ctrl_c_pressed_again_and_again_tells_what_it_leaves(tmp_path, endless, gap):
    output = tmp_path / "t.safetensors"
    returned, _, stderr = interrupted(endless, output, *[signal.SIGINT] * 15, gap=gap)
    assert returned == 130
    assert len(stderr.splitlines()) == 1
    if "nothing was written" in stderr:
        assert not list(tmp_path.iterdir())
    else:  # the file was complete before the second
        assert "holds the first" in stderr
        written = tmp_path / "t.safetensors.incomplete"
        with pytest.warns(UserWarning, match="frames only"):
            assert patchgate.VideoTokens.load(written).shape.T > 0
        assert list(tmp_path.iterdir()) == [written]


@pytest.fixture
def handlers():
    """Puts the handlers back: after a signal ``Stop`` leaves none."""
    before = {number: signal.getsignal(number) for number in Stop._SIGNALS}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_are_noted_and_raise_only_where_it_is_safe(handlers):
    with Stop() as stop:
        assert stop.exit_code == 0
        signal.raise_signal(signal.SIGTERM)
        stop.check()
        assert stop.exit_code == 143
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Stopped) as stopped:
            stop.check()
        assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN, "the program is ending"


def test_signals_after_the_file_stands_change_nothing(handlers):
    with Stop() as stop:
        stop.settle()
        for _ in range(3):
            signal.raise_signal(signal.SIGINT)
        stop.check()
        assert stop.exit_code == 0
    assert signal.getsignal(signal.SIGINT) is handlers[signal.SIGINT]


def test_a_hang_up_that_is_ignored_stays_ignored(handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with Stop() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert stop.exit_code == 0


def test_the_tests_start_programs_that_hear_a_hang_up_under_nohup():
    """What is ignored is inherited: else those above that send one would wait for ever."""
    program = """
import signal, subprocess, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
import conftest
signal.raise_signal(signal.SIGHUP)  # ends nothing here
code = "import signal; print(signal.getsignal(signal.SIGHUP) == signal.SIG_DFL)"
subprocess.check_call([sys.executable, "-c", code])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=TESTS, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_work_that_hangs_is_ended_without_its_help(tmp_path):
    program = f"""
import pathlib, signal, time
from patchgate.cli.signals import Stop
from patchgate.beside import scratch_beside
Stop.GRACE = 0.1
with Stop() as stop, scratch_beside(pathlib.Path({str(tmp_path / "t.safetensors")!r})) as scratch:
    (scratch / "part").touch()
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)
    time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (130, b"patchgate: interrupted: nothing was written\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_ctrl_c_while_inspecting_writes_nothing(tmp_path, endless, number, code):
    words = command("inspect", endless, "-o", tmp_path / "p.png", "--size", "980")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".p.png.*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert "nothing was written" in stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_standard_output_that_is_full_or_unread(words):
    call = command("info", clips.clip("h264.mp4"), *words)
    with open("/dev/full", "w") as full:
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "patchgate: error: standard output: No space left on device\n"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(call, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("name", "ascii_only"), [("\u00e9.mp4", True), (os.fsdecode(b"b\xff.mp4"), False)]
)
def test_names_that_the_terminal_cannot_write(tmp_path, name, ascii_only):
    clip = tmp_path / name
    clip.write_bytes(clips.clip("h264.mp4").read_bytes())
    settings = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    environment = {**os.environ, **(settings if ascii_only else {})}
    for words in (["info"], ["inspect", "-o", tmp_path / "p.png", *SMALL],
                  ["inspect", "-o", tmp_path / "p.html", *SMALL],
                  ["tokenize", "-o", tmp_path / "t.safetensors", *SMALL]):  # fmt: skip
        done = subprocess.run(command(words[0], clip, *words[1:]), env=environment,
                              capture_output=True)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
        assert b".mp4" in done.stdout or words[0] == "tokenize"
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert ("\u00e9.mp4" if "\u00e9" in name else "b\ufffd.mp4") in page


def test_tubelets_are_not_called_frames(tmp_path):
    """2 s at 25 frames/s, paired: sampling counts frames, and their tokens in pairs."""
    clip = clips.write(tmp_path / "odd.mp4", frames=51)
    words = ["-o", tmp_path / "p.png", *SMALL, "--temporal-patch", 2]
    facts = json.loads(run("inspect", clip, *words, "--json").stdout)
    assert facts["frames"] == 26
    assert facts["dense_tokens"] == 26 * 12
    assert facts["sampled"]["1_fps"] == {"frames": 3, "tokens": 2 * 12}
    assert facts["sampled"]["2_fps"] == {"frames": 5, "tokens": 3 * 12}
    assert "for all 26 tubelets of 2 frames" in run("inspect", clip, *words).stdout
    words[1] = tmp_path / "t.safetensors"
    assert "26 tubelets of 2 frames, 3 x 4 cells each" in run("tokenize", clip, *words).stdout
