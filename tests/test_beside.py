"""Files that are written beside their place: the older one stays until the new one is whole."""

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from gated_cases import flicker, normalised
from merge_cases import random_tokens
from stream_cases import gated

from patchgate import VideoTokens
from patchgate.beside import incomplete, written_beside
from patchgate.gate import saved
from patchgate.tokens import file as token_file


def tokens_in(path: Path) -> None:
    random_tokens(t=5).save(path)


def stream_in(path: Path) -> None:
    stream = gated("siglip").stream()
    with torch.no_grad():
        stream(normalised(flicker(2)))
    stream.save(path)


def text_in(path: Path) -> None:
    with written_beside(path) as whole:
        whole.write_text("text")


every_writer = pytest.mark.parametrize("write", [tokens_in, stream_in, text_in])


@every_writer
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o000])
def test_a_file_has_the_rights_that_the_umask_gives(
    write: Any, umask: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the library gives it."""
    for module in (token_file, saved):
        real = module.save_file

        def private(tensors: Any, path: Any, *more: Any, real: Any = real) -> None:
            real(tensors, path, *more)
            os.chmod(path, 0o600)

        monkeypatch.setattr(module, "save_file", private)
    before = os.umask(umask)
    try:
        write(tmp_path / "t")
        (tmp_path / "plain").touch()
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("t", "plain")]
    assert modes[0] == modes[1] == 0o666 & ~umask


@every_writer
def test_a_writer_that_fails_in_the_middle_leaves_the_older_file(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a library does that writes in place and meets the end of the disk."""
    path = tmp_path / "t"
    path.write_text("older")

    def half(tensors: Any, to: Any, *_: Any) -> None:
        Path(to).write_bytes(b"half of it")
        raise OSError("no room")

    for module in (token_file, saved):
        monkeypatch.setattr(module, "save_file", half)
    monkeypatch.setattr(Path, "write_text", lambda self, text: half(None, self))
    with pytest.raises(OSError, match="no room"):
        write(path)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


FULL = """
import signal, torch, sys
sys.path.insert(0, sys.argv[2])
from merge_cases import random_tokens
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import resource
tokens = random_tokens(t=200)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
try:
    tokens.save(sys.argv[1])
except OSError as error:
    print("told:", error)
"""


def test_a_disk_that_fills_up_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "t"
    tokens_in(path)
    older = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", FULL, path, Path(__file__).parent / "cases"],
        capture_output=True,
        text=True,
    )
    assert "told:" in done.stdout, done.stderr
    assert str(path) in done.stdout
    assert path.read_bytes() == older
    assert list(tmp_path.iterdir()) == [path]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 2000


def test_tokens_can_be_saved_over_the_file_that_they_are_mapped_from(tmp_path: Path) -> None:
    path = tmp_path / "t"
    random_tokens(t=12).save(path)
    loaded = VideoTokens.load(path)
    part = loaded.slice(0.3, 0.9)
    expected, whole = part.dense().clone(), loaded.dense().clone()
    part.save(path)
    assert torch.equal(VideoTokens.load(path).dense(), expected)
    assert torch.equal(loaded.dense(), whole)  # the older file is there as long as it is mapped
    loaded.save(path)
    assert torch.equal(VideoTokens.load(path).dense(), whole)


def test_a_stream_can_be_saved_over_the_file_that_it_was_restored_from(tmp_path: Path) -> None:
    path, x = tmp_path / "t", normalised(flicker(4))
    with torch.no_grad():
        stream, other = (gated("clip", context="full").stream() for _ in range(2))
        stream(x[:2])
        stream.save(path)
        other.restore(path)
        stream(x[2:])
        stream.save(path)  # another state, in its place
        again = gated("clip", context="full").stream()
        again(x[:2])
        assert torch.equal(other(x[2:]).last_hidden_state, again(x[2:]).last_hidden_state)
        other.save(path)
        other.restore(path)


def test_links_stay_links_and_long_names_fit(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("older")
    link.symlink_to(real)
    text_in(link)
    assert link.is_symlink()
    assert real.read_text() == "text"
    long = tmp_path / ("é" * 120 + ".txt")
    text_in(long)
    assert long.read_text() == "text"
    with pytest.raises(OSError, match="name"):
        text_in(tmp_path / ("x" * 300))


@every_writer
def test_what_is_no_file_is_not_replaced(write: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it is not a file"):
        write(tmp_path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(ValueError, match="it is not a file"):
        write(fifo)
    with pytest.raises(OSError, match="no such folder"):
        write(tmp_path / "absent" / "t")


KILLED = """
import os, signal, sys
from pathlib import Path
from patchgate.beside import scratch_beside
with scratch_beside(Path(sys.argv[1])) as folder:
    (folder / "part").write_text("half")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_leaves_is_swept_by_the_next(tmp_path: Path) -> None:
    """And what one that still runs has is left alone."""
    words = [sys.executable, "-c", KILLED, str(tmp_path / "t")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    dead, alive = (subprocess.Popen(words, **pipes) for _ in range(2))
    left, used = (Path(each.stdout.readline().strip()) for each in (dead, alive))
    try:
        dead.kill()
        dead.wait()
        assert (left / "part").exists()
        text_in(tmp_path / "other")
        assert not left.exists()
        assert (used / "part").exists()
    finally:
        alive.communicate("")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_only_hidden_folders_of_ours_are_swept(tmp_path: Path) -> None:
    for name in (".t.patchgate-none", "t.patchgate-x", ".git"):
        (tmp_path / name).mkdir()
    (tmp_path / "t.patchgate-x" / "lock").touch()  # not hidden
    (tmp_path / ".git" / "lock").touch()
    (tmp_path / ".link.patchgate-x").symlink_to(tmp_path / "t.patchgate-x")
    before = sorted(tmp_path.iterdir())
    text_in(tmp_path / "text")
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "text"])


def test_a_long_name_of_an_incomplete_file_fits() -> None:
    assert incomplete(Path("a/t.safetensors")) == Path("a/t.safetensors.incomplete")
    assert len(incomplete(Path("x" * 255)).name) == 255
