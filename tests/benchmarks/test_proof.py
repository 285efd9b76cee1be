"""benchmarks/proof: frames in memory, and the ways from them to features."""

from pathlib import Path
from typing import Any

import harness
import pytest
import torch
from peers import rlt
from proof import equal, frames, scaling, speed, ways
from proof.ours import Live, ours
from proof.towers import Sized
from proof.way import Done, Way, timed
from reading.ladder import LADDER

import patchgate
from patchgate.pipeline import StageSeconds
from patchgate.pipeline.tubelets import joined

# --- frames in memory -------------------------------------------------------------------------


CLIP = harness.ROOT / "examples" / "clips" / "asl_book.mkv"


@pytest.fixture(scope="module")
def film() -> patchgate.FrameBatch:
    return frames.decoded(CLIP, 20)


def test_a_clip_is_played_again_and_time_goes_on(film: patchgate.FrameBatch) -> None:
    longer = frames.again(film, 45)
    assert torch.equal(longer.planes[0][20:40], film.planes[0])
    assert bool((longer.pts_seconds.diff() > 0).all())
    assert torch.allclose(
        longer.pts_seconds[20:40] - film.pts_seconds, film.duration_seconds.sum().expand(20)
    )


def test_parts_joined_are_the_whole(film: patchgate.FrameBatch) -> None:
    whole = joined(*frames.parts(film, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole.planes, film.planes, strict=True))


def test_a_rate_picks_what_is_shown_then(film: patchgate.FrameBatch) -> None:
    ten = frames.picked(film, torch.arange(10))
    ten = patchgate.FrameBatch(
        ten.planes,
        torch.arange(10).double() / 2.5,
        torch.full((10,), 0.4, dtype=torch.float64),
        ten.colour,
    )
    assert scaling.WATCHED == 4
    shown = scaling.at_rate(ten, 5)  # every frame twice
    assert shown.pts_seconds.tolist() == pytest.approx([t // 2 / 2.5 for t in range(20)])
    assert len(scaling.at_rate(ten, 1)) == 4


# --- ways from frames to features -------------------------------------------------------------


@pytest.fixture(scope="module")
def tower() -> Sized:
    return Sized("tiny/16-96")


def run(way: Way, film: patchgate.FrameBatch) -> tuple[Done, dict[str, float]]:
    done, stages, seconds = timed(way, film)
    assert 0 < sum(stages.values()) <= seconds
    assert len(done.features) == done.tokens
    return done, stages


def test_the_dense_way_is_the_tower(tower: Sized, film: patchgate.FrameBatch) -> None:
    done, stages = run(ways.dense(tower), film)
    expected = tower.model(ways.prepared(tower, film)).last_hidden_state.flatten(0, 1)
    assert torch.allclose(done.features, expected, atol=1e-5)
    assert done.tokens == 20 * 36
    assert set(stages) == {"gather", "encode"}


@pytest.mark.parametrize("settings", [{"context": "kept"}, {"tolerance": 0.2}])
def test_our_way_is_tokenize(
    tower: Sized, film: patchgate.FrameBatch, settings: dict[str, Any]
) -> None:
    done, stages = run(ours(tower, **settings), film)
    tokens = patchgate.tokenize(CLIP, tower.gated(**settings))
    own = int(tokens.cu_seqlens[20])
    assert done.tokens == own
    assert torch.allclose(done.features, tokens.features[:own], atol=1e-4)
    assert set(stages) == {"grid", "gate", "compact", "gather", "encode"}
    assert done.flops < tower.frame_flops * 20


def test_live_streams_go_on(tower: Sized, film: patchgate.FrameBatch) -> None:
    live, stages = Live(tower, context="kept"), StageSeconds()
    found = torch.cat([live.push(some, stages.time).features for some in frames.parts(film, 3)])
    whole, _ = run(ours(tower, context="kept"), film)
    assert torch.allclose(found, whole.features, atol=1e-5)


def test_merging_comes_after_our_tower(tower: Sized, film: patchgate.FrameBatch) -> None:
    kept, _ = run(ours(tower, tolerance=float("inf")), film)
    done, stages = run(ours(tower, share=0.5, tolerance=float("inf")), film)
    assert done.tokens == -(-kept.tokens // 2)  # one window: the share is rounded up once
    assert done.flops == kept.flops
    assert set(stages) == {"grid", "gate", "compact", "gather", "encode", "merge"}


def test_a_peer_before_the_tower_keeps_what_its_mask_says(
    tower: Sized, film: patchgate.FrameBatch
) -> None:
    done, _ = run(ways.before(tower, "RLT", 0.05, context="kept"), film)
    pixels = ways.prepared(tower, film)
    assert done.tokens == int(rlt.keep_mask(pixels, 16, 0.05).sum())
    every, _ = run(ways.before(tower, "RLT", -1.0, context="kept"), film)
    dense, _ = run(ways.dense(tower), film)
    assert torch.allclose(every.features, dense.features, atol=1e-4)
    assert every.flops == pytest.approx(dense.flops)


def test_every_way_runs(tower: Sized, film: patchgate.FrameBatch) -> None:
    found = {name: run(way, film)[0] for name, way in ways.all_of(tower).items()}
    for name, done in found.items():
        assert 0 < done.tokens <= 20 * 36, name
        assert torch.isfinite(done.features).all(), name
    assert found["EVS"].tokens == 20 * 36 // 2
    assert found["GRT as released"].tokens == 20 * 36
    assert found["GRT as released"].flops < found["dense"].flops


def test_rlt_and_ours_at_equal_reading(
    tower: Sized, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    assert equal.both(tower) == {}  # before what is read was measured
    found = {"RLT": "tau=0.03", "patchgate": LADDER[1].setting}
    rows = [{"reader": equal.READER, "method": m, "setting": s} for m, s in found.items()]
    harness.write(tmp_path / "proof" / "readout.json", {"equal reading": rows})
    stages, (duel,) = speed.by_stage(tower, CLIP, 8, 1, every=False)
    kept = {row["method"]: row["kept"] for row in stages}
    assert duel["RLT, kept"] == kept["RLT, equal reading"] >= kept["RLT"]
    assert duel["patchgate, kept"] == kept["patchgate, equal reading"]
    assert duel["RLT / patchgate"] > 0
    assert duel["settings"] == f"RLT tau=0.03; patchgate {LADDER[1].setting}"
    rows[0]["setting"] = "none retains enough"
    harness.write(tmp_path / "proof" / "readout.json", {"equal reading": rows})
    assert speed.by_stage(tower, CLIP, 8, 1, every=False)[1] == []
