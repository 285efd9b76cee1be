"""tokenize with a tower: from decoded planes to features, without whole RGB frames."""

from dataclasses import asdict
from typing import Any

import clips
import numpy as np
import pytest
import torch
from gated_cases import MEAN, STD
from stream_cases import MODELS
from token_cases import FRAMES, path

import patchgate
from patchgate.gather import rgb_frames
from patchgate.pipeline import stages
from patchgate.pipeline.features import PixelFeatures, TowerFeatures

transformers = pytest.importorskip("transformers")


SIDE, CELLS = 112, 8


def siglip(side: int = SIDE, patch: int = 14):
    config = transformers.SiglipVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=side, patch_size=patch,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.SiglipVisionModel(config).eval()


def processor(side: int = SIDE):
    return transformers.SiglipImageProcessorPil(size={"height": side, "width": side})


@pytest.fixture(scope="module")
def video():
    return path()


@pytest.fixture
def tower():
    return patchgate.gated(siglip(), processor(), threshold=6)


def dense(model, path) -> torch.Tensor:
    """The tower on every whole frame, through its own processor: ``[T, N, D]``."""
    with patchgate.open_video(path) as video:
        frames = torch.cat([rgb_frames(batch) for batch in video])  # [T, 3, H, W]
    pictures = [frame.permute(1, 2, 0).numpy() for frame in frames]
    pixels = processor()(pictures, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        return model(pixels).last_hidden_state


def test_every_cell_kept_equals_the_dense_tower(video, tower):
    fresh = tower.gate_settings.__class__(**{**asdict(tower.gate_settings), "max_age": 1})
    tokens = patchgate.tokenize(video, tower, gate=patchgate.Gate.of(fresh))
    assert bool(tokens.is_key.all())
    expected = dense(tower.tower, video)
    assert tokens.shape == (FRAMES, CELLS, CELLS)
    torch.testing.assert_close(tokens.dense().flatten(1, 2), expected, atol=1e-5, rtol=1e-5)


def test_rules_given_here_are_the_towers_but_for_these(video):
    tower = patchgate.gated(siglip(), processor(), threshold=6, on_motion="reuse")
    own = patchgate.Gate.of(tower.gate_settings)
    want = patchgate.tokenize(video, tower, gate=own.fresh(threshold=40))
    got = patchgate.tokenize(video, tower, threshold=40)
    assert torch.equal(got.source, want.source)
    assert torch.equal(got.features, want.features)
    assert len(got) < len(patchgate.tokenize(video, tower))
    with pytest.raises(ValueError, match="a gate or rules for one"):
        patchgate.tokenize(video, tower, gate=own, threshold=40)


def test_kept_cells_are_encoded_with_those_of_their_frame_only(video):
    tower = patchgate.gated(siglip(), processor(), context="kept")
    tokens = patchgate.tokenize(video, tower)
    assert 0 < tokens.kept_share < 1
    assert tokens.features.shape == (len(tokens), 16)
    assert tokens.layout is None
    with patchgate.open_video(video, chunk=64) as opened:
        (batch,) = opened
    index = tokens.frame * CELLS**2 + tokens.cell[:, 0] * CELLS + tokens.cell[:, 1]
    rows = patchgate.gather.gather(batch, index, tower.pixel_spec)
    with torch.no_grad():
        expected = tower.encode(rows, tokens.cell, tokens.cu_seqlens)
    torch.testing.assert_close(tokens.features, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_chunks_do_not_matter(video, tower, chunk):
    whole, parts = patchgate.tokenize(video, tower), patchgate.tokenize(video, tower, chunk=chunk)
    assert torch.equal(whole.source, parts.source)
    torch.testing.assert_close(whole.features, parts.features, atol=1e-5, rtol=1e-4)


def test_tower_tokens_survive_a_file_but_hold_no_pixels(video, tower, tmp_path):
    tokens = patchgate.tokenize(video, tower)
    tokens.save(tmp_path / "tokens.safetensors")
    loaded = patchgate.VideoTokens.load(tmp_path / "tokens.safetensors")
    assert torch.equal(loaded.dense(), tokens.dense())
    with pytest.raises(ValueError, match="come from a tower"):
        loaded.reconstruct()


def test_the_gate_looks_where_the_tower_looks(video):
    """so400m/14-384: the resize is to 384 pixels, the tower takes 27 * 14 = 378."""
    tower = patchgate.gated(siglip(45, 14), processor(45))
    tokens = patchgate.tokenize(video, tower)
    assert tokens.shape[1:] == (3, 3)


def test_an_empty_range_has_no_tokens(video, tower):
    with pytest.warns(patchgate.decode.DecodeWarning):
        tokens = patchgate.tokenize(video, tower, start=1e6)
    assert tokens.features.shape == (0, 16)
    assert tokens.shape == (0, CELLS, CELLS)


def test_half_precision_towers_give_half_precision_tokens(video):
    tower = patchgate.gated(siglip().to(torch.bfloat16), processor())
    assert patchgate.tokenize(video, tower).features.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate": patchgate.Gate(patch=16, sub_blocks=1)}, "gate: the tower needs patch=14"),
        ({"gate": patchgate.Gate(temporal_patch=2)}, "gate: the tower needs temporal_patch=1"),
        ({"gate": patchgate.Gate(fit="crop")}, "gate: the tower needs fit=stretch"),
        ({"size": (56, 56)}, r"size: the tower takes \(112, 112\), got \(56, 56\)"),
    ],
)
def test_a_gate_that_does_not_fit_the_tower_is_refused(video, tower, options, message):
    with pytest.raises(ValueError, match=message):
        patchgate.tokenize(video, tower, **options)


def test_a_tower_that_is_not_gated_is_refused(video):
    with pytest.raises(TypeError, match=r"made by patchgate\.gated"):
        patchgate.tokenize(video, siglip())


def test_kept_share_does_not_depend_on_the_clock(video, tower):
    tokens = patchgate.tokenize(video, tower)
    assert np.all(np.diff(tokens.pts_seconds.numpy()) > 0)
    assert int(tokens.cu_seqlens[-1]) == len(tokens)


def test_a_tower_has_all_cores_while_a_video_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixels leave the decoder its cores; a tower's work is many times the decoder's."""
    monkeypatch.setattr(stages, "usable_cpus", lambda: 4)
    seen: dict[str, set[int]] = {"TowerFeatures": set(), "PixelFeatures": set()}
    for kind in (TowerFeatures, PixelFeatures):

        def rows(self: Any, *given: Any, own: Any = kind.rows, name: str = kind.__name__) -> Any:
            seen[name].add(torch.get_num_threads())
            return own(self, *given)

        monkeypatch.setattr(kind, "rows", rows)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        tower = patchgate.gated(MODELS["siglip"], mean=MEAN, std=STD)
        patchgate.tokenize(clips.clip("h264.mp4"), tower, threads=3)
        patchgate.tokenize(clips.clip("h264.mp4"), size=28, threads=3)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert seen == {"TowerFeatures": {4}, "PixelFeatures": {1}}
