"""``patchgate live`` and ``patchgate doctor``."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest
from live_cases import camera, plays, ts
from servers import silent
from typer.testing import CliRunner

from patchgate import read_segments
from patchgate.cli import app

SMALL = ("--size", "28", "--json")


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_two_cameras_are_watched_and_written(tmp_path):
    with camera(plays(ts(40))) as (one, _), camera(plays(ts(40, size=(96, 64)))) as (two, _):
        done = run("live", f"door=tcp://u:hunter2@127.0.0.1:{one}", f"tcp://127.0.0.1:{two}?x=hunter2",
                   "-o", tmp_path / "out", "--seconds", 2, *SMALL)  # fmt: skip
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    other = f"tcp://127.0.0.1:{two}?***"
    assert set(facts["cameras"]) == {"door", other}
    for each in facts["cameras"].values():
        assert each["frames"] >= 1
        assert each["live"]["decoded"] >= 30
        assert 0 < each["kept"] <= 1
    assert "hunter2" not in done.output
    assert "opened: door: its first picture came" in done.stderr
    store = read_segments(tmp_path / "out")
    assert store.cameras == sorted(["door", other])
    for name, each in facts["cameras"].items():
        assert sum(tokens.shape.T for tokens in store.tokens(name)) == each["frames"]


def test_a_camera_that_is_not_there_is_told_and_the_end_comes_all_the_same():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with silent() as nobody:
        done = run("live", f"a=tcp://127.0.0.1:{port}", f"b=tcp://127.0.0.1:{nobody}",
                   "--seconds", 1.5, "--open-timeout", 0.5, *SMALL)  # fmt: skip
    assert done.exit_code == 0
    assert "lost: a: " in done.stderr
    assert "nobody listens there" in done.stderr
    assert "stalled: b: " in done.stderr
    assert json.loads(done.stdout)["cameras"]["a"]["frames"] == 0


@pytest.mark.parametrize(("words", "code", "said"), [
    (("live",), 2, "URL"),
    (("live", "a=x.mp4", "a=y.mp4"), 2, "two cameras are called a"),
    (("live", "a=tcp://127.0.0.1:1", "--grid", "qwen3-vl"), 2, "--grid qwen3-vl: the size of its"),
    (("live", "a=tcp://127.0.0.1:1", "--grid", "siglip", "--patch", "7"), 2, "--patch"),
    (("live", "nothing.mp4"), 1, "no such file"),
    (("live", "ftp://a:b@c/d"), 1, "ftp://***@c/d: there is no such file"),
    (("live", "tcp://127.0.0.1:1", "--max-delay", "-1"), 1, "max_delay: expected"),
    (("live", "tcp://127.0.0.1:1", "--transport", "x"), 1, "transport: expected one of"),
    (("live", "tcp://127.0.0.1:1", "-o", "/dev/null/x"), 1, "/dev/null"),
])  # fmt: skip
def test_what_is_refused(words, code, said):
    done = run(*words)
    assert done.exit_code == code, done.output
    assert said in re.sub(r"\s+", " ", done.output)


def test_ctrl_c_ends_it_and_the_result_is_printed():
    with camera(plays(ts(40))) as (port, _):
        command = [
            sys.executable,
            "-m",
            "patchgate.cli",
            "live",
            f"a=tcp://127.0.0.1:{port}",
            *SMALL,
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        told = ""
        while "first picture came" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["cameras"]["a"]["live"]["decoded"] > 0


def test_the_doctor_says_what_this_machine_opens():
    facts = json.loads(run("doctor", "--json").stdout)
    assert {"http", "tcp", "udp"} <= set(facts["addresses"])
    assert "h264" in facts["decoders"]
    assert "camera" not in facts
    told = run("doctor").stdout
    assert "this machine" in told
    assert "decoders" in told


def test_the_doctor_looks_at_a_camera():
    with camera(plays(ts(60))) as (port, _):
        done = run("doctor", f"tcp://127.0.0.1:{port}", "--seconds", 0, "--json")
        facts = json.loads(done.stdout)["camera"]
    assert done.exit_code == 0
    assert facts["first_frame"] > 0
    assert facts["stats"]["size"] == [48, 64]
    with silent() as port:
        done = run("doctor", f"tcp://x:hunter2@127.0.0.1:{port}", "--open-timeout", 0.5)
    assert done.exit_code == 1
    assert "was not opened within --open-timeout 0.5 seconds" in done.stdout
    assert "hunter2" not in done.output


def test_the_doctors_advice():
    from dataclasses import replace

    from patchgate.live.diagnosis import Diagnosis
    from patchgate.live.meter import Meter

    stats = replace(Meter().stats(), corrupt=0, delay_p99=0.01)
    good = Diagnosis("x", 0.3, None, 25.0, 0.05, stats)
    assert good.advice() == []
    bad = replace(good, first_frame=6.0, longest_step=2.0, stats=replace(
        stats, corrupt=3, reconnects=2, clock_jumps=5, error="why", delay_p99=0.5))  # fmt: skip
    said = " ".join(bad.advice())
    for word in (
        "after 6.0 s",
        "3 packets",
        "failed 2 times",
        "jumped 5 times",
        "for 2.00 s",
        "0.50 s",
    ):
        assert word in said
    assert replace(good, first_frame=None, error="closed").advice() == ["closed"]


@pytest.mark.slow
def test_the_example():
    from pathlib import Path

    script = Path(__file__).parents[2] / "examples" / "two_cameras.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for name in ("camera 0", "camera 1"):
        assert sum(line.startswith(f"{name} ") and "new tokens" in line for line in lines) >= 50
