"""Tokens of borrowed surfaces by a gate that remembers pictures: those of the CPU path."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import clips
import pytest
import torch
from fake_nvdec import FakeBackend, Watch, WatchedStream
from gate_videos import texture
from nvdec_cases import both, on_gpu, small_tower
from rebuild import worst_sub_blocks
from token_cases import assert_same

import patchgate
from patchgate import Gate, grid
from patchgate.gate import CHANGED, RETURNED
from patchgate.pipeline import StageSeconds
from patchgate.pipeline.collect import assemble, empty_chunk
from patchgate.pipeline.features import PixelFeatures
from patchgate.pipeline.surfaces import surface_chunks

P, SIZE = 8, (48, 64)
ORDER, LENGTH = "ABACBA", 3  # shots, and the frames of each: an odd number splits tubelets

SETTINGS: dict[str, dict[str, Any]] = {
    "one picture": {"memory": 1},
    "three pictures": {"memory": 3, "hysteresis": 0.5},
    "tubelets": {"memory": 2, "temporal_patch": 2},
    "ages": {"memory": 2, "max_age": 14, "on_motion": "reuse"},
}


@functools.cache
def dialogue() -> Path:
    """Held pictures in turn, 4:2:0, with a window in some frames."""
    pictures = [texture(SIZE, ord(letter), 3).clone() for letter in ORDER for _ in range(LENGTH)]
    for planes in pictures[4 * LENGTH + 1 : 5 * LENGTH]:
        planes[:, 16:32, 8:40] = texture(SIZE, 7, 3)[:, 16:32, 8:40]
    return clips.lossless("dialogue.mkv", pictures, "yuv420p")


@pytest.mark.parametrize("chunk", [1, 4, 64])
@pytest.mark.parametrize("name", SETTINGS)
def test_pictures_return_on_surfaces_as_on_the_cpu(
    nvdec: FakeBackend, name: str, chunk: int
) -> None:
    gate = Gate(patch=P, size=SIZE, **SETTINGS[name])
    tokens = both(dialogue(), gate, chunk=chunk)
    assert bool((tokens.kind == RETURNED).any())
    without = patchgate.tokenize(dialogue(), gate=gate.fresh(memory=None), device="cuda")
    assert int((tokens.kind == CHANGED).sum()) < int((without.kind == CHANGED).sum())


def test_returned_cells_rebuild_what_was_shown(nvdec: FakeBackend) -> None:
    gate = Gate(patch=P, size=SIZE, memory=2)
    tokens = patchgate.tokenize(dialogue(), gate=gate, device="cuda", chunk=5)
    with patchgate.open_video(dialogue()) as video:
        planes = torch.cat([grid.to_grid(batch, SIZE) for batch in video])
    assert bool((worst_sub_blocks(planes, tokens.reconstruct(), P, P // 2) <= 4 * 16).all())


@pytest.mark.parametrize("together", [1, 2, 5, 99])
@pytest.mark.parametrize("temporal_patch", [1, 2])
def test_several_pictures_at_once(watched: FakeBackend, together: int, temporal_patch: int) -> None:
    """Every read of a surface is done on its own stream, turns included: ``Watch`` asserts it."""
    gate = Gate(patch=P, size=SIZE, memory=2, temporal_patch=temporal_patch)
    expected = patchgate.tokenize(dialogue(), gate=gate)
    features, video = PixelFeatures(gate.settings, SIZE), on_gpu(dialogue(), chunk=8)
    with Watch(watched.nvc):
        chunks = list(surface_chunks(video, gate, StageSeconds(), features, together))
    assert WatchedStream.said == ["follow", "synchronize", "lead"] * len(chunks)
    assert_same(assemble(chunks, empty_chunk(gate), expected.layout), expected)


@pytest.mark.parametrize("chunk", [1, 4, 16])
@pytest.mark.parametrize(
    "rules",
    [{"context": "kept"}, {"context": "full", "tolerance": 0.05},
     {"context": "full", "tolerance": 0.05, "moved": "source"}],
    ids=["kept", "full", "source"],
)  # fmt: skip
def test_a_tower_computes_nothing_for_what_returns(
    nvdec: FakeBackend, rules: dict[str, Any], chunk: int
) -> None:
    options = {"chunk": chunk, "tower": small_tower(memory=2, **rules)}
    expected = patchgate.tokenize(dialogue(), **options)
    got = patchgate.tokenize(dialogue(), device="cuda", **options)
    assert bool((got.kind == RETURNED).any())
    assert_same(got, expected)


def test_a_new_size_forgets_no_picture_wrongly(nvdec: FakeBackend) -> None:
    """In the middle another decoder goes on, with another chunk, and the same gate."""
    gate = Gate(patch=P, size=SIZE, threshold=60, memory=2)
    both(clips.clip("size.ts"), gate, chunk=4, errors="ignore")
