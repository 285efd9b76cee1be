"""The command line on pipes, on servers that say nothing, and when somebody has waited enough."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import clips
import pytest
from decode_cases import camera as camera  # a fixture
from decode_cases import fifo
from servers import silent, web
from typer.testing import CliRunner

import patchgate
from patchgate.cli import app
from patchgate.cli.terminal import as_options

SMALL = ["--size", "42,56"]
NOTHING = "patchgate: interrupted: nothing was written\n"


def command(*words):
    return [sys.executable, "-m", "patchgate.cli", *map(str, words)]


def run(*words, **options):
    return subprocess.run(command(*words), capture_output=True, text=True, timeout=120, **options)


# --- pipes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["/dev/stdin", "pipe:"])
def test_standard_input(name):
    data = clips.clip("faststart.mp4").read_bytes()
    done = subprocess.run(command("info", name, "--json"), input=data, capture_output=True)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["width"], facts["bytes"], facts["video"]) == (64, None, name)


def test_a_process_substitution_and_a_start(tmp_path):
    clip = clips.clip("late.ts")
    want = patchgate.tokenize(clip, size=(42, 56), start=2.0)
    words = " ".join(command("tokenize", f"<(cat {clip})", "-o", tmp_path / "t.safetensors",
                             "--size 42,56", "--start 2.0"))  # fmt: skip
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    tokens = patchgate.VideoTokens.load(tmp_path / "t.safetensors")
    assert tokens.pts_seconds.equal(want.pts_seconds)
    assert tokens.features.equal(want.features)


def test_a_fifo(tmp_path):
    with fifo(tmp_path, clips.clip("late.ts").read_bytes(), stall=False) as path:
        done = run("info", path)
    assert done.returncode == 0, done.stderr
    assert "64 x 48" in done.stdout


def test_standard_input_from_a_file_is_a_file(tmp_path):
    with open(clips.clip("late.mkv"), "rb") as file:
        done = run("inspect", "/dev/stdin", "-o", tmp_path / "p.png", *SMALL, stdin=file)
    assert done.returncode == 0, done.stderr


def test_what_reads_twice_says_that_it_needs_a_file(tmp_path):
    with fifo(tmp_path, b"", stall=False) as path:
        for words in (["inspect", "-o", tmp_path / "p.html"], ["inspect", "-o", tmp_path / "p.png"],
                      ["plan", "--frames", "2", "--grid", "qwen2.5-vl"]):  # fmt: skip
            done = CliRunner().invoke(app, [words[0], str(path), *map(str, words[1:])])
            assert done.exit_code == 1
            assert "can be read only once; save it to a file first" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["fifo"]


@pytest.mark.parametrize("words", [["inspect", "--overlay", "o.mp4", *SMALL],
                                   ["plan", "--frames", "2", *SMALL],
                                   ["advise", *SMALL]])  # fmt: skip
def test_what_reads_once_reads_a_pipe(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    data = clips.clip("late.ts").read_bytes()
    done = subprocess.run(command(words[0], "/dev/stdin", *words[1:]), input=data,
                          capture_output=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_index_behind_the_frames_of_a_pipe():
    data = clips.clip("h264.mp4").read_bytes()
    at = data.index(b"moov") - 4
    filler = (1 << 20).to_bytes(4, "big") + b"free" + bytes((1 << 20) - 8)
    done = subprocess.run(command("info", "/dev/stdin"), input=data[:at] + filler + data[at:],
                          capture_output=True)  # fmt: skip
    assert done.returncode == 1
    assert b"whose index ('moov') lies behind its frames" in done.stderr
    assert b"save it to a file first" in done.stderr
    assert b"damaged" not in done.stderr


@pytest.mark.parametrize(("data", "message"), [
    (b"", "is empty"), (b"buy milk\n" * 99, "is a text file"), (bytes(99), "is not a video"),
    (b"#EXTM3U\n#EXTINF:1,\nx.ts\n", "is a playlist (HLS)"),
])  # fmt: skip
def test_pipes_with_something_else(data, message):
    done = subprocess.run(command("info", "/dev/stdin"), input=data, capture_output=True)
    assert done.returncode == 1
    assert message in done.stderr.decode()
    assert b"Traceback" not in done.stderr


# --- options ----------------------------------------------------------------------------------


def test_limits_and_playlists_are_options(tmp_path):
    with silent() as port:
        done = CliRunner().invoke(
            app, ["info", f"http://127.0.0.1:{port}/x", "--open-timeout", "0.3"])  # fmt: skip
    assert done.exit_code == 1
    assert "was not opened within --open-timeout 0.3 seconds" in done.stderr
    assert "give a larger --open-timeout, or 0 to wait for ever" in done.stderr
    clips.write(tmp_path / "x.ts", frames=5)
    (tmp_path / "l.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nx.ts\n#EXT-X-ENDLIST\n")
    done = CliRunner().invoke(app, ["info", str(tmp_path / "l.m3u8")])
    assert "pass --allow-playlists, or --format hls" in done.stderr
    for words in (["--allow-playlists"], ["--format", "hls"]):
        done = CliRunner().invoke(app, ["info", str(tmp_path / "l.m3u8"), *words])
        assert done.exit_code == 0, done.stderr
    for words in (["--format", "v4l2"], ["--open-timeout", "-1"], ["--read-timeout", "nan"]):
        assert CliRunner().invoke(app, ["info", "x", *words]).exit_code == 2


def test_messages_name_the_options_of_the_command_line():
    assert as_options("within read_timeout=2.5 seconds; a larger read_timeout=, or None to wait "
                      "for ever") == ("within --read-timeout 2.5 seconds; a larger --read-timeout, "
                                      "or 0 to wait for ever")  # fmt: skip


# --- signals ----------------------------------------------------------------------------------


def begun(process, seconds=60):
    """Waits until a command has imported all it needs, and waits for its source."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        tasks = Path(f"/proc/{process.pid}/task")
        names = [(task / "comm").read_text() for task in tasks.iterdir()]
        if len(names) > 1 and _connected(process.pid):
            time.sleep(0.2)
            return
        time.sleep(0.02)
    raise AssertionError(process.communicate())


def _connected(pid):
    """Whether it holds a socket or pipe beside its standard ones."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if int(entry.name) > 2 and os.readlink(entry).startswith("socket:"):
                    return True
    return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("name", ["info", "tokenize", "inspect", "plan", "advise"])
def test_a_signal_while_it_opens(tmp_path, name, number, code):
    more = {"info": [], "advise": [], "tokenize": ["-o", tmp_path / "t.safetensors"],
            "plan": ["--frames", "3"],
            "inspect": ["-o", tmp_path / "p.html"]}[name]  # fmt: skip
    with silent() as port:
        words = command(name, f"http://127.0.0.1:{port}/x", *more, "--open-timeout", "0")
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        begun(process)
        begin = time.monotonic()
        process.send_signal(number)
        said = process.stderr.readline()
        took = time.monotonic() - begin
        _, rest = process.communicate(timeout=30)
    handled = number == signal.SIGINT or name in ("tokenize", "inspect", "plan", "advise")
    assert process.returncode == (code if handled else -number)
    assert said + rest == (NOTHING if handled else "")
    assert took < 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_while_the_server_stalls_keeps_what_came(tmp_path, camera, number, code):
    output = tmp_path / "t.safetensors"
    with web({"/x": camera}, stall=int(len(camera) * 0.8)) as server:
        words = command("tokenize", f"{server.base}/x", "-o", output, *SMALL, "--read-timeout", "0")
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        features = lambda: list(tmp_path.glob(".t.*/features"))  # noqa: E731
        size = -1
        while not features() or not (now := features()[0].stat().st_size) or now != size:
            assert process.poll() is None, process.communicate()
            size = features()[0].stat().st_size if features() else -1
            time.sleep(0.5)
        begin = time.monotonic()
        process.send_signal(number)
        said = process.stderr.readline()
        took = time.monotonic() - begin
        process.communicate(timeout=30)
    assert process.returncode == code
    assert took < 2
    written = tmp_path / "t.safetensors.incomplete"
    with pytest.warns(UserWarning, match="frames only"):
        tokens = patchgate.VideoTokens.load(written)
    assert f"holds the first {tokens.shape.T} frames" in said
    assert 140 < tokens.shape.T < 165
    want = patchgate.tokenize(camera, size=(42, 56), end=float(tokens.pts_seconds[-1]) + 0.001)
    assert tokens.features.equal(want.features)
    assert list(tmp_path.iterdir()) == [written]


@pytest.mark.parametrize("wait", [0.15, 0.4])
@pytest.mark.parametrize("module", [True, False])
def test_ctrl_c_while_it_imports(tmp_path, wait, module):
    script = Path(sys.executable).with_name("patchgate")
    if not module and not script.exists():
        pytest.skip("the command is not installed")
    start = command() if module else [str(script)]
    words = [*start, "tokenize", str(clips.clip("h264.mp4")), "-o", str(tmp_path / "t.safetensors")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # from when Python itself can be interrupted in order: our first module is there
    while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, NOTHING)
    assert not list(tmp_path.iterdir())


def test_a_library_leaves_ctrl_c_alone():
    program = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import patchgate
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True\n"


@pytest.mark.parametrize("numbers", [[signal.SIGTERM] * 5, [signal.SIGINT, signal.SIGTERM]])
def test_signals_again_while_it_clears_up(tmp_path, numbers):
    clip = clips.write(tmp_path / "long.mp4", frames=400, size=(160, 120))
    words = command("inspect", clip, "--overlay", tmp_path / "o.mp4", "--size", "280")
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob(".o.mp4.*/*.mp4")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(0.3)
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.01)
    _, stderr = process.communicate(timeout=60)
    assert stderr == NOTHING
    assert process.returncode == 128 + numbers[0]
    assert list(tmp_path.iterdir()) == [clip]


# --- outputs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [150, 246, 255])
def test_long_names(tmp_path, length):
    output = tmp_path / ("o" * (length - len(".safetensors")) + ".safetensors")
    done = CliRunner().invoke(app, ["tokenize", str(clips.clip("h264.mp4")), "-o", str(output),
                                    *SMALL])  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert list(tmp_path.iterdir()) == [output]
    done = CliRunner().invoke(app, ["tokenize", str(clips.clip("h264.mp4")), "-o",
                                    str(tmp_path / ("o" * 256)), *SMALL])  # fmt: skip
    assert "this name is too long" in done.stderr


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_is_no_file_to_replace(tmp_path, name):
    target = tmp_path / "redirected"
    with target.open("wb") as out:
        done = subprocess.run(command("tokenize", clips.clip("h264.mp4"), "-o", name, *SMALL),
                              stdout=out, stderr=subprocess.PIPE, text=True)  # fmt: skip
        assert done.returncode == 1
        assert "it is not a folder; give a name that ends in .safetensors" in done.stderr
        assert os.fstat(out.fileno()).st_ino == target.stat().st_ino
    assert target.read_bytes() == b""


def test_no_thread_to_be_had_is_said(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    with silent() as port:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        done = CliRunner().invoke(app, ["info", f"http://127.0.0.1:{port}/x"])
    assert done.exit_code == 1
    assert "no more threads can be started here" in done.stderr
