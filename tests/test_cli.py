"""The command line, as a user and as a script meet it."""

import dataclasses
import inspect
import json
import re
import shlex
import signal
import subprocess
import sys
import time

import clips
import pytest
from typer.testing import CliRunner

import patchgate
from patchgate.cli import app
from patchgate.cli.options import GateOptions, parsed_size
from patchgate.cli.report import Stop

SMALL = ["--size", "42,56"]
EVERY_COMMAND = ["tokenize", "inspect"]


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def command(*words):
    return [sys.executable, "-m", "patchgate.cli", *map(str, words)]


def test_options_have_the_defaults_of_the_gate():
    parameters = inspect.signature(patchgate.Gate).parameters
    want = {name: parameter.default for name, parameter in parameters.items()}
    want["size"] = (378, 378)
    assert dataclasses.asdict(GateOptions().gate().settings) == want
    assert set(want) | {"no_scene_cut"} == set(vars(GateOptions()))


def test_every_option_reaches_the_gate(tmp_path):
    words = shlex.split("""
        --threshold 6.5 --search-radius 3 --on-motion encode --no-scene-cut --max-age 5
        --patch 8 --merge 2 --temporal-patch 2 --sub-blocks 4 --no-chroma --hysteresis 0.5
        --noise adaptive --size 32x64 --fit pad
    """)
    result = run("tokenize", clips.clip("h264.mp4"), "-o", tmp_path / "t", *words, "--json")
    assert json.loads(result.stdout)["gate"] == {
        "threshold": 6.5, "search_radius": 3, "on_motion": "encode", "scene_cut": None,
        "max_age": 5, "patch": 8, "merge": 2, "temporal_patch": 2, "sub_blocks": 4,
        "chroma": False, "hysteresis": 0.5, "noise": "adaptive", "size": [32, 64], "fit": "pad",
    }  # fmt: skip
    assert patchgate.VideoTokens.load(tmp_path / "t").layout.temporal_patch == 2


@pytest.mark.parametrize(
    ("text", "size"), [("378", (378, 378)), ("42,56", (42, 56)), (" 42 x 56 ", (42, 56))]
)
def test_size(text, size):
    assert parsed_size(text) == size


def test_tokenize_writes_what_the_library_gives(tmp_path):
    clip = clips.clip("late.mp4")
    result = run("tokenize", clip, "-o", tmp_path / "t", *SMALL, "--json", "--chunk", 5)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    tokens = patchgate.VideoTokens.load(tmp_path / "t")
    want = patchgate.tokenize(clip, size=(42, 56))
    for name, tensor in want.tensors().items():
        assert tensor.equal(tokens.tensors()[name]), name
    assert facts["tokens"] == len(tokens)
    assert facts["frames"] == tokens.shape.T == 40
    assert facts["dense_tokens"] == 40 * 12
    assert facts["kept_share"] == pytest.approx(tokens.kept_share)
    assert facts["output_bytes"] == (tmp_path / "t").stat().st_size
    assert facts["interrupted"] is False
    assert facts["warnings"] == []
    assert {"decode", "grid", "gate", "gather", "write", "total"} <= facts["seconds"].keys()


def test_tokenize_takes_a_part(tmp_path):
    clip = clips.clip("h264.mp4")
    result = run("tokenize", clip, "-o", tmp_path / "t", *SMALL, "--start", 0.4, "--end", 1.2,
                 "--fps", 5, "--threads", 1)  # fmt: skip
    assert result.exit_code == 0, result.output
    want = patchgate.tokenize(clip, size=(42, 56), start=0.4, end=1.2, fps=5)
    assert patchgate.VideoTokens.load(tmp_path / "t").pts_seconds.equal(want.pts_seconds)
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
        ["--nonsense"],
    ],
)
def test_wrong_usage_exits_2_and_writes_nothing(tmp_path, name, words):
    result = run(name, clips.clip("h264.mp4"), "-o", tmp_path / "t.png", *words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Usage" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [*EVERY_COMMAND, "info"])
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
    output = [] if name == "info" else ["-o", tmp_path / "t.png"]
    result = run(name, path, *output, "--json")
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "t.png").exists()


@pytest.mark.parametrize("name", EVERY_COMMAND)
def test_output_that_cannot_be_written_exits_1(tmp_path, name):
    clip = clips.clip("h264.mp4")
    for output, message in (
        (tmp_path / "no" / "t.png", "no such folder"),
        (tmp_path, "not a file"),
    ):
        output = output if name == "tokenize" or output.suffix else tmp_path / "d.png"
        if output.name == "d.png":
            output.mkdir()
        result = run(name, clip, "-o", output, *SMALL)
        assert result.exit_code == 1, result.output
        assert message in result.stderr


def test_no_frame_in_the_part_exits_1_and_keeps_the_older_file(tmp_path):
    (tmp_path / "t").write_text("older")
    result = run("tokenize", clips.clip("h264.mp4"), "-o", tmp_path / "t", "--start", 100)
    assert result.exit_code == 1
    warning, error = result.stderr.splitlines()
    assert warning.startswith("patchgate: warning: ")
    assert error.startswith("patchgate: error: ")
    assert (tmp_path / "t").read_text() == "older"


def test_the_video_itself_is_not_overwritten(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(clips.clip("h264.mp4").read_bytes())
    result = run("tokenize", clip, "-o", clip)
    assert result.exit_code == 1
    assert "the video itself" in result.stderr
    assert clip.read_bytes() == clips.clip("h264.mp4").read_bytes()


def test_an_unknown_picture_format_is_wrong_usage(tmp_path):
    result = run("inspect", clips.clip("h264.mp4"), "-o", tmp_path / "p.bmp")
    assert result.exit_code == 2
    assert ".svg" in result.stderr


def test_damage_is_told_in_a_line_and_in_json(tmp_path):
    cut = clips.truncated(clips.clip("faststart.mp4"), tmp_path / "cut.mp4")
    result = run("tokenize", cut, "-o", tmp_path / "t", *SMALL, "--json")
    assert result.exit_code == 0, result.output
    (warning,) = json.loads(result.stdout)["warnings"]
    assert "truncated" in warning
    assert result.stderr == f"patchgate: warning: {warning}\n"
    assert patchgate.VideoTokens.load(tmp_path / "t").shape.T > 0


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


def interrupted(clip, output, number):
    """Starts tokenizing, and sends the signal once the first tokens are on the disk."""
    words = command("tokenize", clip, "-o", output, "--size", "980", "--json", "--chunk", "4")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not any(p.stat().st_size for p in output.parent.glob(f".{output.name}.*/features")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=20)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_leaves_a_valid_partial_file(tmp_path, endless, number, code):
    output = tmp_path / "t.safetensors"
    returned, stdout, stderr = interrupted(endless, output, number)
    assert returned == code, stderr
    facts = json.loads(stdout)
    assert facts["interrupted"] is True
    assert 0 < facts["frames"] < 1500
    assert f"holds the first {facts['frames']:,} frames" in stderr
    assert "Traceback" not in stderr
    tokens = patchgate.VideoTokens.load(output)
    want = patchgate.tokenize(endless, size=980, end=float(tokens.pts_seconds[-1]) + 0.001)
    assert tokens.source.equal(want.source)
    assert tokens.span.equal(want.span)
    assert tokens.features.equal(want.features)
    assert list(tmp_path.iterdir()) == [output]


def test_a_second_ctrl_c_ends_at_once():
    before = signal.getsignal(signal.SIGINT)
    with Stop() as stop:
        assert stop.exit_code == 0
        signal.raise_signal(signal.SIGINT)
        assert stop.exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_inspecting_writes_nothing(tmp_path, endless):
    words = command("inspect", endless, "-o", tmp_path / "p.png", "--size", "980")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".p.png.*")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert "nothing was written" in stderr
    assert not list(tmp_path.iterdir())
