"""embed: one vector a frame, from the file, equal to pooling what the gated tower's call shows."""

import functools
import inspect
import itertools
import math
from pathlib import Path
from typing import Any

import av
import clips
import pytest
import torch
from gate_videos import pan, texture
from gated_cases import MEAN, STD, tower
from gated_families import dinov2, registers
from qwen_cases import tower as qwen
from torch import Tensor

import patchgate
from patchgate.gather import PixelSpec, gather
from patchgate.gather.resize import Keep
from patchgate.pipeline.features import TowerFeatures

SIDE, P = 32, 8
N = (SIDE // P) ** 2
FIDELITIES: dict[str, dict[str, Any]] = {
    "kept": {"context": "kept"},
    "own": {},
    "exact": {"tolerance": 0.0},
    "never": {"tolerance": math.inf},
    "sources": {"moved": "source"},
    "lent": {"moved": "lend"},
    "refreshed": {"refresh": 4},
    "passing": {"pass_over": (0.4, 2)},
}


@functools.cache
def grey() -> Tensor:
    """``[T, H, W]`` uint8: still, a change, still, a pan, still, a cut, still."""
    still = texture((SIDE, SIDE), 0).long() // 2 + 60
    moving = pan((SIDE, SIDE), 4, (0, P), 0, 1)[:, 0].long() // 2 + 60
    frames = [*still.expand(4, -1, -1)]
    changed = still[0].clone()
    changed[P : 2 * P, : 2 * P] = 200
    frames += [changed] * 3
    frames += [*moving, *[moving[-1]] * 4]
    cut = texture((SIDE, SIDE), 9)[0].long() // 2 + 60
    return torch.stack([*frames, *[cut] * 3]).to(torch.uint8)


@functools.cache
def video() -> Path:
    """These frames as a lossless file."""
    path = clips.folder() / "grey.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=clips.RATE, options=dict(clips.LOSSLESS))
        stream.height = stream.width = SIDE
        stream.pix_fmt = "yuv444p"
        for i, luma in enumerate(grey()):
            planes = torch.stack([luma, *[torch.full_like(luma, 128)] * 2])
            frame = av.VideoFrame.from_ndarray(planes.numpy(), "yuv444p")
            frame.pts, frame.time_base = i * clips.STEP, clips.TICK
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def rows_of(spec: PixelSpec, f: int = 1) -> Tensor:
    """Every cell of every frame as the tower takes them."""
    with patchgate.open_video(video(), chunk=64) as opened:
        (batch,) = opened
    h, w = spec.cells(batch.height, batch.width)
    return gather(batch, torch.arange(len(grey()) // f * h * w), spec)


def pictures(gated: patchgate.GatedTower, dtype: torch.dtype = torch.float64) -> Tensor:
    """The frames as the tower's call takes them, ``[T, 3, H, W]``."""
    h = SIDE // P
    rows = rows_of(gated.pixel_spec).view(-1, h, h, 3, P, P)
    return rows.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, SIDE, SIDE).to(dtype)


def gated(name: str, **settings: Any) -> patchgate.GatedTower:
    made = {"siglip": lambda: tower("siglip"), "clip": lambda: tower("clip"), "dinov2": dinov2,
            "registers": registers,
            "headless": lambda: tower("siglip", vision_use_head=False)}[name]()  # fmt: skip
    rules = {"threshold": 8, "mean": MEAN, "std": STD, **settings}
    return patchgate.gated(made, **rules)


def own_call(tower: patchgate.GatedTower, pool: str) -> Tensor:
    """Pools the output of the gated tower's own call on the same frames, ``[T, D]``."""
    with torch.no_grad():
        out = tower(pictures(tower))
    prefix = out.last_hidden_state.shape[1] - N
    return {
        "pooled": lambda: out.pooler_output,
        "cls": lambda: out.last_hidden_state[:, 0],
        "mean": lambda: out.last_hidden_state[:, prefix:].mean(1),
    }[pool]()


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


POOLS = [("siglip", "pooled"), ("siglip", "mean"), ("clip", "pooled"), ("clip", "cls"),
         ("clip", "mean"), ("dinov2", "pooled"), ("registers", "cls"), ("registers", "mean"),
         ("headless", "mean")]  # fmt: skip


@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize(("name", "pool"), POOLS)
def test_it_is_what_the_gated_towers_own_call_shows(name: str, pool: str, fidelity: str) -> None:
    tower = gated(name, **FIDELITIES[fidelity])
    same = None if fidelity == "kept" else tower.fidelity.tolerance
    found = patchgate.embed(video(), tower, pool=pool, chunk=5, tolerance=same)
    assert found.features.dtype == torch.float64
    close(found.features, own_call(tower, pool))
    assert found.pts_seconds.dtype == torch.float64
    close(found.pts_seconds, torch.arange(len(grey())).double() / clips.RATE)


def test_the_gate_says_of_these_frames_what_it_says_of_the_call() -> None:
    """Else the test above would compare other things; and there are frames of every kind."""
    tower = gated("siglip")
    tokens = patchgate.tokenize(video(), tower)
    with torch.no_grad():
        own = tower.tokens(pictures(tower), pts_seconds=tokens.pts_seconds)
    assert torch.equal(own.kind, tokens.kind)
    kinds = [set(frame.unique().tolist()) for frame in tokens.kind]
    assert kinds[0] == kinds[-3] == {2}
    assert {0} in kinds
    assert any(1 in kind for kind in kinds)


@pytest.mark.parametrize("name", ["siglip", "clip", "dinov2", "headless"])
@pytest.mark.parametrize("pool", ["auto", "mean"])
def test_of_exact_repeats_it_is_the_dense_model(name: str, pool: str) -> None:
    tower = gated(name, threshold=0, tolerance=0.0, on_motion="encode")
    found = patchgate.embed(video(), tower, pool=pool)
    with torch.no_grad():
        out = tower.tower(pictures(tower))
    pooled = pool == "auto" and name != "headless"
    prefix = out.last_hidden_state.shape[1] - N
    close(
        found.features, out.pooler_output if pooled else out.last_hidden_state[:, prefix:].mean(1)
    )


def test_frames_that_compute_nothing_repeat_the_last_vector() -> None:
    found = patchgate.embed(video(), gated("siglip"), chunk=1).features
    same = [bool((a == b).all()) for a, b in itertools.pairwise(found)]
    assert same[:3] == [True] * 3
    assert not same[3]
    assert same[4:6] == [True] * 2
    assert same[-2:] == [True] * 2


@pytest.mark.parametrize("pool", ["pooled", "mean"])
@pytest.mark.parametrize("fidelity", FIDELITIES)
@pytest.mark.parametrize("chunk", [1, 4])
def test_chunks_do_not_matter(pool: str, fidelity: str, chunk: int) -> None:
    tower = gated("siglip", **FIDELITIES[fidelity])
    whole = patchgate.embed(video(), tower, pool=pool, chunk=64)
    parts = patchgate.embed(video(), tower, pool=pool, chunk=chunk)
    close(whole.features, parts.features)
    assert torch.equal(whole.pts_seconds, parts.pts_seconds)


@pytest.mark.parametrize(
    ("name", "own"),
    [("siglip", "pooled"), ("clip", "pooled"), ("dinov2", "pooled"), ("headless", "mean")],
)
def test_auto_is_the_towers_own_convention(name: str, own: str) -> None:
    tower = gated(name)
    by_itself = patchgate.embed(video(), tower).features
    assert torch.equal(by_itself, patchgate.embed(video(), tower, pool=own).features)


def test_a_tower_that_ends_early_gives_its_cls_or_mean() -> None:
    for name, pool in (("clip", "cls"), ("siglip", "mean")):
        tower = gated(name, feature_layer=-2, tolerance=0.1)
        found = patchgate.embed(video(), tower).features
        close(found, own_call(tower, pool))
        with pytest.raises(ValueError, match="no pooled output after a feature_layer"):
            patchgate.embed(video(), tower, pool="pooled")


@pytest.mark.parametrize("name", ["qwen25", "qwen3"])
def test_a_language_models_tower_gives_the_mean_of_merged_cells(name: str) -> None:
    model, spec = qwen(name, torch.float64), PixelSpec(Keep(), 0.5, 0.25, 4, 2, 2)
    sides = (model.config.patch_size, model.config.spatial_merge_size)
    spec = PixelSpec(Keep(), 0.5, 0.25, *sides, 2)
    tower = patchgate.gated(model, spec, max_age=1)
    found = patchgate.embed(video(), tower)
    t = len(grey()) // 2
    side = SIDE // spec.patch
    with torch.no_grad():
        out = model(rows_of(spec, 2).double(), grid_thw=torch.tensor([[t, side, side]]))
    merged = out.pooler_output.unflatten(0, (t, -1)).mean(1)
    torch.testing.assert_close(found.features, merged, atol=1e-4, rtol=1e-4)
    close(found.pts_seconds, torch.arange(t).double() * 2 / clips.RATE)


def test_half_precision_towers_give_half_precision_vectors() -> None:
    tower = patchgate.gated(dinov2().bfloat16(), mean=MEAN, std=STD)
    assert patchgate.embed(video(), tower).features.dtype == torch.bfloat16


def test_rules_part_and_options_are_those_of_tokenize() -> None:
    tower = gated("dinov2")
    part = patchgate.embed(video(), tower, start=0.2, end=0.4, fps=12.5, threads=1, threshold=40)
    own = patchgate.tokenize(video(), tower, start=0.2, end=0.4, fps=12.5, threshold=40)
    assert torch.equal(part.pts_seconds, own.pts_seconds)
    names = inspect.signature(patchgate.tokenize).parameters.keys() - {"size"}
    assert names <= inspect.signature(patchgate.embed).parameters.keys()
    with patchgate.open_video(video()) as opened:
        assert torch.equal(patchgate.embed(opened, tower).features,
                           patchgate.embed(video(), tower).features)  # fmt: skip


def test_it_tells_what_comes_as_it_comes() -> None:
    parts: list[patchgate.Embedding] = []
    whole = patchgate.embed(video(), gated("clip"), chunk=4, on_chunk=parts.append)
    assert len(parts) > 2
    assert torch.equal(torch.cat([part.features for part in parts]), whole.features)
    assert torch.equal(torch.cat([part.pts_seconds for part in parts]), whole.pts_seconds)


@pytest.mark.parametrize(("name", "pool"), POOLS)
def test_no_frames_are_no_vectors_of_the_same_width(name: str, pool: str) -> None:
    tower = gated(name)
    with pytest.warns(patchgate.DecodeWarning):
        none = patchgate.embed(video(), tower, pool=pool, start=1e6)
    assert none.features.shape == (0, 24)
    assert none.features.dtype == torch.float64
    assert none.pts_seconds.shape == (0,)


def test_no_features_of_tokens_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would take memory and time for nothing."""
    monkeypatch.setattr(TowerFeatures, "encoding", lambda *_: pytest.fail("made"))
    assert len(patchgate.embed(video(), gated("siglip")).features) == len(grey())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("siglip", {"pool": "cls"}, 'VisionModel has no CLS token; expected "auto" or "pooled"'),
        ("headless", {"pool": "pooled"}, 'has no pooled output; expected "auto" or "mean"'),
        ("clip", {"pool": "max"}, "expected one of 'auto', 'cls', 'pooled', 'mean', got 'max'"),
        ("clip", {"gate": patchgate.Gate(patch=16)}, "gate: the tower needs patch=8"),
        ("clip", {"gate": patchgate.Gate(patch=8), "threshold": 3}, "expected a gate or rules"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        patchgate.embed(video(), gated(name), **options)


@pytest.mark.parametrize("model", [None, 3, dinov2()])
def test_a_tower_that_is_not_gated_is_refused(model: Any) -> None:
    with pytest.raises(TypeError, match=r"tower: expected one made by patchgate\.gated"):
        patchgate.embed(video(), model)


def test_an_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(TypeError, match=r"embed: expected options of .*'tresh'"):
        patchgate.embed(video(), gated("clip"), tresh=3)
    with pytest.raises(FileNotFoundError):
        patchgate.embed("nowhere.mp4", gated("clip"))
