"""VideoTokens: what a video's tokens say of every cell of every frame; saved, cut and rebuilt."""

import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rebuild import CHANGED, MOVED, emitted_cells, rebuild, worst_sub_blocks
from safetensors.torch import save_file
from token_cases import FRAMES, KINDS, SECOND, SIZE, assert_same, every_kind, planes_for, tokens_of

import patchgate
from patchgate import Gate, VideoTokens
from patchgate.tokens import file as token_file


@every_kind
def test_tokens_are_the_gates_changed_cells_of_the_grid(name: str) -> None:
    tokens, planes = tokens_of(name), planes_for(name)
    f = 2 if name == "tubelets" else 1
    result = Gate(patch=8, **KINDS[name]).push(planes)
    for field in ("kind", "motion", "source", "is_key"):
        assert torch.equal(getattr(tokens, field), getattr(result, field)), field
    assert {MOVED, CHANGED} <= set(tokens.kind.unique().tolist())  # the clip is worth looking at
    assert torch.equal(tokens.features, emitted_cells(planes, result.kind, 8, f).flatten(1))
    where = (result.kind == CHANGED).nonzero()
    assert torch.equal(tokens.frame, where[:, 0])
    assert torch.equal(tokens.cell, where[:, 1:])
    counts = (result.kind == CHANGED).sum((1, 2)).tolist()
    assert tokens.cu_seqlens.diff().tolist() == counts
    assert int(tokens.cu_seqlens[0]) == 0
    assert tokens.cu_seqlens.dtype == torch.int32
    assert tokens.shape == (len(counts), 3, 4)
    assert len(tokens) == sum(counts)
    assert tokens.kept_share == sum(counts) / result.kind.numel()


@every_kind
def test_reconstruct_is_what_a_decoder_rebuilds_within_the_limit(name: str) -> None:
    tokens, planes = tokens_of(name), planes_for(name)
    f = 2 if name == "tubelets" else 1
    emitted = tokens.features.view(-1, f, 3, 8, 8)
    precision = KINDS[name].get("motion_precision", 1)
    seen, light = tokens.reconstruct(), (tokens.weights, tokens.lit)
    assert torch.equal(seen, rebuild(tokens.kind, tokens.motion, emitted, precision, *light))
    limit = KINDS[name].get("threshold", 4) * 16
    assert int(worst_sub_blocks(planes, seen, 8, 4, f).max()) <= limit


@every_kind
def test_reconstruct_in_rgb_is_to_look_at(name: str) -> None:
    tokens = tokens_of(name)
    rgb = tokens.reconstruct(rgb=True)
    assert rgb.shape == (len(planes_for(name)), 3, *SIZE)
    assert rgb.dtype == torch.uint8
    assert tokens.layout is not None
    assert torch.equal(rgb, patchgate.colour.yuv_to_rgb(tokens.reconstruct(), tokens.layout.matrix))


def test_luma_alone_is_grey_in_rgb() -> None:
    tokens = tokens_of("camera")
    assert tokens.layout is not None
    features = tokens.features.view(len(tokens), 3, -1)[:, 0]
    luma = replace(tokens, features=features, layout=replace(tokens.layout, planes=1))
    planes = luma.reconstruct()
    assert torch.equal(planes, tokens.reconstruct()[:, :1])
    assert torch.equal(luma.reconstruct(rgb=True), planes.repeat(1, 3, 1, 1))


@every_kind
def test_dense_gives_every_cell_its_sources_features(name: str) -> None:
    tokens = tokens_of(name)
    dense = tokens.dense()
    assert torch.equal(dense, tokens.features[tokens.source])
    own = dense[tokens.kind == CHANGED]
    assert torch.equal(own, tokens.features)


@every_kind
def test_a_span_reaches_to_the_last_frame_that_the_token_explains(name: str) -> None:
    tokens = tokens_of(name)
    for k in range(len(tokens)):
        explained = (tokens.source == k).flatten(1).any(1).nonzero().flatten()
        assert int(explained[0]) == int(tokens.frame[k])
        assert int(tokens.span[k]) == int(explained[-1] - explained[0]) + 1


def test_times_are_those_of_the_frames() -> None:
    times = torch.arange(FRAMES, dtype=torch.float64) * SECOND
    torch.testing.assert_close(tokens_of("camera").pts_seconds, times, rtol=0, atol=1e-3)
    durations = tokens_of("camera").duration_seconds
    torch.testing.assert_close(durations, torch.full_like(times, SECOND), rtol=0, atol=2e-3)
    tubelets = tokens_of("tubelets")  # the first frame's time, both frames' duration
    torch.testing.assert_close(tubelets.pts_seconds, times[::2], rtol=0, atol=1e-3)
    assert len(tubelets.duration_seconds) == 11
    torch.testing.assert_close(tubelets.duration_seconds[:10], durations[:20].view(10, 2).sum(1))
    assert float(tubelets.duration_seconds[10]) == float(durations[20])  # repeated, not shown twice


def test_repr_tells_shapes_and_kept_share() -> None:
    tokens = tokens_of("camera")
    assert repr(tokens).startswith(
        f"VideoTokens(K={len(tokens)}, D=192, torch.uint8, T=21, cells=3"
    )
    assert f"kept={tokens.kept_share:.2%}" in repr(tokens)
    assert "0.84 s" in repr(tokens)


@every_kind
@pytest.mark.parametrize("cut", [None, (0.2, 0.5)])
def test_saved_tokens_load_bit_for_bit(name: str, cut: Any, tmp_path: Path) -> None:
    tokens = tokens_of(name) if cut is None else tokens_of(name).slice(*cut)
    for target in (tmp_path / "a.safetensors", str(tmp_path / "b.safetensors")):
        tokens.save(target)
        loaded = VideoTokens.load(target)
        assert_same(loaded, tokens)
        assert torch.equal(loaded.reconstruct(), tokens.reconstruct())


def test_a_file_from_before_fractions_counts_in_pixels(tmp_path: Path) -> None:
    tokens = tokens_of("camera")
    layout = asdict(tokens.layout)
    assert layout.pop("motion_precision") == 1
    save_file(tokens.tensors(), tmp_path / "old", token_file.metadata(layout))
    assert_same(VideoTokens.load(tmp_path / "old"), tokens)


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        (4, None),
        (2, "out of the picture"),
        (3, "expected motion_precision 1, 2"),
        (4.0, "expected motion_precision"),
        (True, "expected motion_precision"),
    ],
)
def test_vectors_are_checked_in_the_steps_they_count_in(
    steps: object, wrong: str | None, tmp_path: Path
) -> None:
    tokens = tokens_of("quarters")
    motion = torch.zeros_like(tokens.motion)
    motion[3, 0, 0, 1] = 4 * 24  # to the last column of cells, in quarters
    told = token_file.metadata(asdict(tokens.layout) | {"motion_precision": steps})
    save_file({**tokens.tensors(), "motion": motion}, tmp_path / "other", told)
    if wrong is None:
        assert torch.equal(VideoTokens.load(tmp_path / "other").motion, motion)
        return
    with pytest.raises(ValueError, match=wrong):
        VideoTokens.load(tmp_path / "other")


def test_a_layout_of_a_later_version_is_refused_as_such(tmp_path: Path) -> None:
    tokens = tokens_of("camera")
    told = token_file.metadata(asdict(tokens.layout) | {"shear": 2})
    save_file(tokens.tensors(), tmp_path / "later", told)
    with pytest.raises(ValueError, match=r"of another version .*shear"):
        VideoTokens.load(tmp_path / "later")


def test_what_is_no_token_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        VideoTokens.load(tmp_path / "none.safetensors")
    tokens_of("camera").save(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    (tmp_path / "text").write_text("no tokens here, only words, and more of them")
    (tmp_path / "empty").write_bytes(b"")
    for broken in ("cut", "text", "empty"):
        with pytest.raises(ValueError, match=f"{broken}: not a safetensors file"):
            VideoTokens.load(tmp_path / broken)
    save_file({"weight": torch.ones(3)}, tmp_path / "model")
    expected = r"model: expected patchgate.VideoTokens/1 or patchgate.VideoTokens/2, got None"
    with pytest.raises(ValueError, match=expected):
        VideoTokens.load(tmp_path / "model")
    save_file({"weight": torch.ones(3)}, tmp_path / "lies", {"format": "patchgate.VideoTokens/1"})
    with pytest.raises(ValueError, match=r"lies: "):
        VideoTokens.load(tmp_path / "lies")


def test_a_towers_features_have_no_pixels_to_rebuild(tmp_path: Path) -> None:
    tokens = tokens_of("camera")
    values = {field.name: getattr(tokens, field.name) for field in fields(tokens)}
    features = torch.randn(len(tokens), 7, dtype=torch.bfloat16)
    grid = patchgate.TokenGrid(8)
    encoded = VideoTokens(**(values | {"features": features, "layout": None, "grid": grid}))
    with pytest.raises(ValueError, match="these features come from a tower"):
        encoded.reconstruct()
    assert encoded.dense().shape == (21, 3, 4, 7)
    encoded.save(tmp_path / "tower")
    assert_same(VideoTokens.load(tmp_path / "tower"), encoded)
    part = encoded.slice(0.2, 0.4)
    assert torch.equal(part.dense(), encoded.dense()[5:10])


def test_a_place_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(OSError, match=r"absent.*there is no such folder"):
        tokens_of("camera").save(tmp_path / "absent" / "tokens.safetensors")


_PEAK = """
import resource, torch, patchgate

picture = torch.randint(0, 256, (1, 378, 378, 3), dtype=torch.uint8)
tokens = patchgate.tokenize((picture[0] for _ in range(300)), fps=30)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rebuilt = tokens.reconstruct(rgb=True)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print((after - before) * 1024 - rebuilt.nbytes)
"""


def test_rgb_takes_memory_for_a_few_frames_beside_its_result():
    """For 300 frames at once, the int32 numbers on the way take 2.5 GB."""
    done = subprocess.run([sys.executable, "-c", _PEAK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150e6
