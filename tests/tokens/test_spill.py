"""The spill writer: what VideoTokens.save would have written, piece by piece, or nothing at all."""

import errno
import json
import resource
import subprocess
import sys

import clips
import pytest
import torch

import patchgate
from patchgate.beside import scratch_beside
from patchgate.cli import app
from patchgate.pipeline import token_chunks
from patchgate.pipeline.collect import empty_chunk
from patchgate.pipeline.fitting import sized_gate
from patchgate.tokens import TokenChunk
from patchgate.tokens.layout import layout_of
from patchgate.tokens.parts import Parts
from patchgate.tokens.spill import TokenSpill

SIZE = (42, 56)


def described(gate, matrix):
    """What a spill is told of the tokens to come."""
    return empty_chunk(gate), layout_of(gate, matrix)


def spilled(path, clip, gate, chunk=16):
    with (
        patchgate.open_video(clip, chunk=chunk) as video,
        TokenSpill(path, *described(gate, video.colour.matrix)) as spill,
    ):
        for tokens in token_chunks(video, gate.fresh()):
            spill.add(tokens)
        size = spill.finish().stat().st_size
    assert size == path.stat().st_size
    return patchgate.VideoTokens.load(path)


def assert_equal(got, want):
    assert got.layout == want.layout
    assert got.tensors().keys() == want.tensors().keys()
    for name, tensor in want.tensors().items():
        assert got.tensors()[name].dtype == tensor.dtype, name
        assert torch.equal(got.tensors()[name], tensor), name


@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"threshold": 40, "on_motion": "reuse"},
        {"temporal_patch": 2, "patch": 7, "sub_blocks": 1},
    ],
)
def test_spill_equals_save(tmp_path, settings, chunk):
    gate = patchgate.Gate(size=SIZE, **settings)
    clip = clips.clip("h264.mp4")
    whole = patchgate.tokenize(clip, gate=gate)
    whole.save(tmp_path / "saved.safetensors")
    got = spilled(tmp_path / "spilled.safetensors", clip, gate, chunk)
    assert_equal(got, patchgate.VideoTokens.load(tmp_path / "saved.safetensors"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "saved.safetensors",
        "spilled.safetensors",
    ]


def test_the_same_tensors_shapes_and_metadata_stand_in_the_header(tmp_path):
    gate = patchgate.Gate(size=SIZE)
    spilled(tmp_path / "b", clips.clip("vfr.mp4"), gate)
    patchgate.tokenize(clips.clip("vfr.mp4"), gate=gate).save(tmp_path / "a")
    headers = []
    for name in "ab":
        data = (tmp_path / name).read_bytes()
        length = int.from_bytes(data[:8], "little")
        assert length % 8 == 0
        header = json.loads(data[8 : 8 + length])
        headers.append({k: v if k == "__metadata__" else (v["dtype"], v["shape"])
                        for k, v in header.items()})  # fmt: skip
    assert headers[0] == headers[1]


def test_an_old_token_that_is_used_again_gets_its_span(tmp_path):
    """A source may come back after any number of chunks: the gate keeps ids of single pixels."""
    gate = sized_gate(patchgate.Gate(patch=2, sub_blocks=1), (2, 4))
    like = empty_chunk(gate)

    def chunk(new, source, frame, kind):
        return TokenChunk(
            features=torch.zeros((len(new), like.features.shape[1]), dtype=torch.uint8),
            frame=torch.full((len(new),), frame),
            cell=torch.tensor([[0, source.index(s)] for s in new]).view(-1, 2),
            pts_seconds=torch.tensor([frame / 10], dtype=torch.float64),
            duration_seconds=torch.tensor([0.1], dtype=torch.float64),
            source=torch.tensor([[source]]),
            kind=torch.tensor([[kind]], dtype=torch.uint8),
            motion=torch.zeros((1, 1, 2, 2), dtype=torch.int8),
        )

    chunks = [
        chunk([0, 1], [0, 1], 0, [2, 2]),
        chunk([2], [2, 1], 1, [2, 0]),
        chunk([], [0, 1], 2, [1, 0]),
    ]
    with TokenSpill(tmp_path / "t", *described(gate, "bt601")) as spill:
        for each in chunks:
            spill.add(each)
        spill.finish()
    tokens = patchgate.VideoTokens.load(tmp_path / "t")
    assert tokens.span.tolist() == [3, 3, 1]
    assert tokens.cu_seqlens.tolist() == [0, 2, 3, 3]


def test_no_frames_make_a_valid_file(tmp_path):
    gate = sized_gate(None, SIZE)
    with TokenSpill(tmp_path / "t", *described(gate, "bt709")) as spill:
        spill.finish()
    assert patchgate.VideoTokens.load(tmp_path / "t").shape == (0, 3, 4)


def test_without_finish_the_older_file_stays(tmp_path):
    path = tmp_path / "t"
    path.write_text("older")
    with TokenSpill(path, *described(sized_gate(None, SIZE), "bt601")):
        pass
    with pytest.raises(ZeroDivisionError), scratch_beside(path) as folder:
        (folder / "x").write_bytes(bytes(1 // 0))
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_an_end_asked_for_while_finishing_leaves_nothing(tmp_path):
    """Whenever that is: between any two pieces, and last right before the file is moved."""

    def finish_but_for(count):
        calls = iter(range(count))

        def check():
            if next(calls, None) is None:
                raise KeyboardInterrupt

        with (
            patchgate.open_video(clips.clip("h264.mp4")) as video,
            TokenSpill(tmp_path / "t", *described(gate, video.colour.matrix)) as spill,
        ):
            for chunk in token_chunks(video, gate.fresh()):
                spill.add(chunk)
            spill.finish(check)

    gate, count = sized_gate(None, SIZE), 0
    while not (tmp_path / "t").exists():
        try:
            finish_but_for(count)
        except KeyboardInterrupt:
            assert not list(tmp_path.iterdir())
            count += 1
    assert count > 10  # spans, ten tensors, the move
    assert patchgate.VideoTokens.load(tmp_path / "t").shape.T == 40


def test_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("older")
    link.symlink_to(real)
    with TokenSpill(link, *described(sized_gate(None, SIZE), "bt601")) as spill:
        spill.finish()
    assert link.is_symlink()
    assert patchgate.VideoTokens.load(real).shape.T == 0


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nowhere/t", OSError, "no such folder"),
        ("file/t", OSError, "a file, not a folder"),
        ("folder", ValueError, "not a file"),
    ],
)
def test_places_that_cannot_be_written_to(tmp_path, name, error, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(error, match=message):
        TokenSpill(tmp_path / name, *described(sized_gate(None, SIZE), "bt601"))


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    path = tmp_path / "t"
    path.write_text("older")
    with pytest.raises(OSError, match="the disk is full"), scratch_beside(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(FileNotFoundError, match="the video went away"), scratch_beside(path):
        raise FileNotFoundError(errno.ENOENT, "the video went away")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["older"]


def test_a_write_that_fails_for_real(tmp_path):
    """A limit on file sizes stands in for a disk that fills up in the middle of a video."""
    limit = 20_000  # bytes: some chunks fit
    run = subprocess.run(
        [sys.executable, "-m", "patchgate.cli", "tokenize", clips.clip("h264.mp4"),
         "-o", tmp_path / "t", "--size", "42,56"],
        capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert run.returncode == 1, run.stderr
    assert "larger than this system allows" in run.stderr
    assert "Traceback" not in run.stderr
    assert not list(tmp_path.iterdir())


def filled(path, gate, chunks):
    with TokenSpill(path, *described(gate, "bt601")) as spill:
        for each in chunks:
            spill.add(each)
        spill.finish()
    return patchgate.VideoTokens.load(path)


def chunks_of(gate, chunk=9):
    with patchgate.open_video(clips.clip("h264.mp4"), chunk=chunk) as video:
        return list(token_chunks(video, gate.fresh()))


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("after", range(14))
def test_an_add_that_fails_can_be_done_again(tmp_path, monkeypatch, error, after):
    """After so many pieces of the chunk; and in the middle of noting last uses."""
    gate = sized_gate(patchgate.Gate(on_motion="reuse"), SIZE)
    chunks = chunks_of(gate)
    expected = filled(tmp_path / "whole", gate, chunks)
    real, calls = Parts.put, []

    def put(self, name, values):
        real(self, name, values)
        calls.append(1)
        if len(calls) > after:
            raise error

    def note(self, source, tokens, real=TokenSpill._note_last_uses):
        real(self, source, tokens)
        if after > 9:
            raise error

    with TokenSpill(tmp_path / "t", *described(gate, "bt601")) as spill:
        spill.add(chunks[0])
        for each in chunks[1:]:
            before = spill.frames, spill.tokens
            calls.clear()
            with monkeypatch.context() as patched:
                patched.setattr(Parts, "put", put)
                patched.setattr(TokenSpill, "_note_last_uses", note)
                with pytest.raises((OSError, KeyboardInterrupt)):
                    spill.add(each)
            assert (spill.frames, spill.tokens) == before
            spill.add(each)
        spill.finish()
    assert_equal(patchgate.VideoTokens.load(tmp_path / "t"), expected)


def test_a_finish_that_fails_can_be_done_again(tmp_path):
    gate = sized_gate(None, SIZE)
    chunks = chunks_of(gate)
    expected = filled(tmp_path / "whole", gate, chunks)
    with TokenSpill(tmp_path / "t", *described(gate, "bt601")) as spill:
        for each in chunks[:-1]:
            spill.add(each)
        with pytest.raises(ZeroDivisionError):
            spill.finish(lambda: 1 / 0)
        assert not (tmp_path / "t").exists()
        spill.add(chunks[-1])
        spill.finish()
    assert_equal(patchgate.VideoTokens.load(tmp_path / "t"), expected)


def test_chunks_that_cannot_be_are_refused(tmp_path, monkeypatch):
    gate = sized_gate(None, SIZE)
    chunks = chunks_of(gate)
    with TokenSpill(tmp_path / "t", *described(gate, "bt601")) as spill:
        spill.add(chunks[0])
        for wrong in (-1, 10**9):
            source = chunks[1].source.clone()
            source[0, 0, 0] = wrong
            with pytest.raises(ValueError, match=r"expected some of the .* tokens so far"):
                spill.add(chunks[1]._replace(source=source))
        monkeypatch.setattr("patchgate.tokens.spill.MOST_TOKENS", spill.tokens)
        with pytest.raises(ValueError, match="tokens in all"):
            spill.add(chunks[1])
        spill.finish()
    tokens = patchgate.VideoTokens.load(tmp_path / "t")
    assert len(chunks[0].kind) == tokens.shape.T


def test_a_video_of_more_tokens_than_numbers_ends_with_a_warning(tmp_path, monkeypatch, capsys):
    """In Python and at the command line; the rest can be tokenized on its own."""
    clip, gate = clips.clip("h264.mp4"), patchgate.Gate(size=SIZE)
    whole = patchgate.tokenize(clip, gate=gate, chunk=4)
    most = int(whole.cu_seqlens[20]) + whole.source[0].numel()
    monkeypatch.setattr("patchgate.gate.memory.MOST_TOKENS", most)
    with pytest.warns(UserWarning, match="more tokens than there are numbers for") as told:
        part = patchgate.tokenize(clip, gate=gate, chunk=4)
    assert 0 < part.shape.T <= 20
    assert part.shape.T % 4 == 0
    assert torch.equal(part.source, whole.source[: part.shape.T])
    start = float(str(told[0].message).rpartition("start=")[2])
    rest = patchgate.tokenize(clip, gate=gate, chunk=4, start=start)
    assert part.shape.T + rest.shape.T == whole.shape.T

    path = tmp_path / "t.safetensors"
    arguments = [str(clip), "-o", str(path), "--size", "42,56", "--chunk", "4", "--json"]
    capsys.readouterr()
    app(["tokenize", *arguments], standalone_mode=False)
    facts = json.loads(capsys.readouterr().out)
    assert any("more tokens than there are numbers for" in said for said in facts["warnings"])
    assert patchgate.VideoTokens.load(path).shape.T == facts["frames"] == part.shape.T
    monkeypatch.setattr("patchgate.gate.memory.MOST_TOKENS", 3)
    with pytest.raises(ValueError, match="has emitted 0 tokens"):
        patchgate.tokenize(clip, gate=gate)
