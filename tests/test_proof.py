"""benchmarks/proof: what is counted, tabled and said; by hand, and against the library."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import harness
from peers import CHOOSERS, rlt
from proof import frames, losses, page, rates, readout, scaling, speed, ways
from proof.ours import Live, merged, ours
from proof.rates import Answered
from proof.towers import Sized
from proof.way import Done, Way, timed
from reading.merged import gated
from reading.methods import Dense, Seen, Trace
from reading.rivals import Encoded
from reading.score import Cost, Row

import patchgate
from patchgate.gate_settings import CHANGED
from patchgate.pipeline import StageSeconds

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
    whole = frames.joined(list(frames.parts(film, 6)))
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
    done, stages = run(merged(tower, share=0.5, tolerance=float("inf")), film)
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
    found = {name: run(way, film)[0] for name, way in ways.all_of(tower, 0.03).items()}
    for name, done in found.items():
        assert 0 < done.tokens <= 20 * 36, name
        assert torch.isfinite(done.features).all(), name
    assert found["EVS"].tokens == 20 * 36 // 2
    assert found["GRT as released"].tokens == 20 * 36
    assert found["GRT as released"].flops < found["dense"].flops
    assert found["RLT, tau=0.03"].tokens >= found["RLT"].tokens


# --- accuracy against frames a second ---------------------------------------------------------


def test_a_trace_of_samples_becomes_one_of_all_frames() -> None:
    kind = torch.tensor([CHANGED, CHANGED], dtype=torch.uint8).view(2, 1, 1)
    motion = torch.zeros(2, 1, 1, 2, dtype=torch.int8)
    whole = rates.whole(Trace(kind, motion), [0, 3], 5)
    assert whole.kind.flatten().tolist() == [CHANGED, 0, 0, CHANGED, 0]
    features = torch.tensor([[[1.0]], [[2.0]]])
    shown = rates.whole(Encoded(kind, motion, features), [0, 3], 5)
    assert isinstance(shown, Encoded)
    assert shown.features.flatten().tolist() == [1, 1, 1, 2, 2]


@pytest.mark.parametrize("method", ["patchgate", *CHOOSERS])
def test_no_method_exceeds_its_budget(method: str) -> None:
    planes = torch.randint(100, 140, (12, 3, 64, 64), dtype=torch.uint8)
    seen = Seen(planes, 12, "bt709", lambda rgb: rgb.float().flatten(2).view(12, 16, -1) - 120)
    trace = rates.thinned(method, seen, 60)
    if method == "GRT scene merge":  # 16 of every frame, which are all here
        assert trace is None
    else:
        assert trace is not None
        assert 16 <= trace.tokens <= 60


def answered(method: str, rate: int, right: int, scene: str = "a") -> Answered:
    return Answered(scene, method, rate, 2, 10, right, 0)


RISING = [answered("patchgate", rate, 5 + i) for i, rate in enumerate(rates.RATES[:5])]
RISING += [answered("patchgate", 15, 9), answered("patchgate", 30, 10)]


def test_accuracy_and_its_rise_are_tabled() -> None:
    (row,) = rates.accuracy(RISING)
    assert (row["budget"], row["1 fps"], row["30 fps"]) == (2, 0.5, 1.0)
    (rise,) = rates.rising(RISING)
    assert rise["gain"] == 0.5
    assert rise["95 %"] == "0.500..0.500"
    (scene,) = rates.by_scene(RISING)
    assert (scene["scene"], scene["2 fps"]) == ("a", 0.6)


def test_replaced_answers_are_those_of_all_tokens() -> None:
    found = rates.replaced(answered("dense", 1, 7), "RLT", 4)
    assert (found.method, found.budget, found.right) == ("RLT", 4, 7)


def test_what_the_gate_keeps_has_the_features_of_its_own_frame() -> None:
    planes = torch.randint(100, 140, (1, 3, 64, 64), dtype=torch.uint8).repeat(5, 1, 1, 1)
    planes[3, :, 16:32, 32:48] += 60
    features = torch.randn(5, 16, 7)
    tokens = gated(Seen(planes, 5, "bt709", lambda rgb: features))
    assert tokens.frame.tolist() == [0] * 16 + [3, 4]  # it comes and goes
    assert tokens.pts_seconds.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    shown = tokens.dense().flatten(1, 2)
    assert torch.equal(shown[2], features[0])
    assert torch.equal(shown[3, 6], features[3, 6])


# --- tables of what is read -------------------------------------------------------------------


def row(family: str, setting: str, tokens: float, retained: float, clip: str = "c") -> Row:
    cost = Cost(tokens, 2.0, 1000, 0.1, 0.1, 0.1)
    return Row("ViT", "scroll", clip, family, setting, "scroll", "what", 10, retained, 10,
               retained, cost)  # fmt: skip


ROWS = [
    row("dense", Dense.setting, 1000, 10),
    row("patchgate", "default", 200, 10),
    row("patchgate", "threshold=8", 100, 10),
    row("patchgate", "threshold=24", 50, 8),
    row("RLT", "tau=0.1", 60, 5),
    row("RLT", "tau=0.02", 150, 10),
    row("random", "share=0.001", 20, 10),
    row("EVS", "share=0.5", 500, 9),
]


def test_fewest_tokens_that_retain_enough() -> None:
    assert readout.fewest(r for r in ROWS if r.family == "patchgate") == 50  # 100 in 2 s
    assert readout.fewest(r for r in ROWS if r.family == "EVS") == 500  # all cells: none suffices


def test_the_duel_is_with_the_best_peer_and_not_with_controls() -> None:
    (found,) = readout.duel(ROWS)
    assert (found["best peer"], found["tuned"], found["ours, tuned"]) == ("RLT", 75, 50)
    assert (found["ours, default"], found["ours / best"], found["aim"]) == (100, 0.67, "<= 0.5")
    assert found[""] == "missed"


def test_equal_reading_and_defaults() -> None:
    found = {r["method"]: r for r in readout.at_equal_reading(ROWS)}
    assert found["patchgate"]["setting"] == "threshold=8"
    assert found["RLT"]["tokens/s"] == 75
    assert found["EVS"]["setting"] == "none retains enough"
    assert {r["method"]: r["setting"] for r in readout.at_defaults(ROWS)} == {
        "dense": Dense.setting, "patchgate": "default", "RLT": "tau=0.1", "EVS": "share=0.5",
    }  # fmt: skip


# --- the page ---------------------------------------------------------------------------------


def tables() -> dict[str, Any]:
    """Of every section, as small as they come; ours loses once in each."""
    stage = dict.fromkeys(speed.STAGES, 1.0)
    spent = (("dense", 6.0), ("RLT", 6.0), ("patchgate, kept cells only", 8.0))
    timed = [{"clip": "x", "method": m, **stage, "ms a frame": ms, "speed-up": 6 / ms}
             for m, ms in spent]  # fmt: skip
    live = {"clip": "x", "streams": 8, "method": "patchgate, residual", "of dense": 0.5}
    answers = [*RISING, *(answered("EVS", rate, 10) for rate in rates.RATES)]
    return {
        "readout": {
            "equal reading": list(readout.at_equal_reading(ROWS)),
            "by group": list(readout.duel(ROWS)), "curve": list(readout.curve(ROWS)),
        },
        "rates": {
            "accuracy": list(rates.accuracy(answers)),
            "rising": list(rates.rising(RISING)), "by scene": list(rates.by_scene(RISING)),
        },
        "speed": {"stages": timed, "streams": [live]},
    }  # fmt: skip


def test_losses_are_said_from_the_figures() -> None:
    told = " ".join(losses.of(tables()))
    assert "the aim is missed in 1 of 1 groups" in told
    assert "x: patchgate, kept cells only runs at 0.75 x the speed" in told
    assert "8 live streams: patchgate, residual runs at 0.5 x" in told
    assert "less than 1.5 x" in told
    assert "answers most" not in told  # it rises all the way
    assert "more is answered" not in told  # EVS and ours both answer all at 30


def test_nothing_lost_is_nothing_said() -> None:
    won = tables()
    won["readout"]["by group"][0] |= {"": "reached", "ours / best": 0.4}
    won["readout"]["equal reading"] = []
    won["speed"] = {"stages": [], "streams": []}
    assert losses.of(won) == []


def test_the_page_and_its_plots_are_written(tmp_path: Path) -> None:
    for name, rows in tables().items():
        run = {"load average before": 0.5, "seconds": 3}
        harness.write(tmp_path / f"{name}.json", rows, **run)
    page.publish(tmp_path)
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.index("What we lose on") < text.index("What can still be read")
    assert "Not measured yet: what grows with what" in text
    assert str(harness.ROOT) not in text
    for name in tables():
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
        assert f"{tmp_path.name}/{name}.png" in text
    json.loads((tmp_path / "readout.json").read_text())
