"""``patchgate bench``: what it counts is what the library keeps; times are only there."""

import dataclasses
import json

import clips
import pytest
from typer.testing import CliRunner

import patchgate
from patchgate import grid
from patchgate.cli import app, bench_share
from patchgate.cli.commands.models import TOWERS
from patchgate.pipeline import StageSeconds

QUICK = ("--rounds", "1", "--frames", "32", "--chunk", "8", "--threads", "1")


def run(*words: object) -> dict:
    done = CliRunner().invoke(app, ["bench", *map(str, words), *QUICK, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*words: object) -> str:
    done = CliRunner().invoke(app, ["bench", *map(str, words), *QUICK])
    assert done.exit_code == 2
    return " ".join(done.output.replace("│", " ").split())


def test_it_counts_what_tokenize_keeps() -> None:
    path = clips.clip("late.mp4")
    facts = run(path, "--size", "48,64", "--patch", "16", "--sub-blocks", "2")
    tokens = patchgate.tokenize(path, gate=patchgate.Gate(patch=16, size=(48, 64)))
    frames = facts["frames"]
    assert frames == min(32, tokens.shape.T)
    assert facts["grid"] == [48, 64]
    assert facts["ways"]["every cell"]["tokens"] == frames * 12
    assert facts["ways"]["patchgate"]["tokens"] == int(tokens.cu_seqlens[frames])


def test_stages_add_up_and_shares_are_shares() -> None:
    facts = run(clips.clip("late.mp4"), "--size", "56")
    for name, way in facts["ways"].items():
        spent = dict(way["ms_per_frame"])
        total = spent.pop("total")
        assert 0 < sum(spent.values()) <= total * 1.001
        assert 0 < way["kept_share"] <= 1
        assert 0 < way["p50_ms_per_frame"] <= way["p99_ms_per_frame"]
        assert ("grid" in spent) == (name == "patchgate")
    assert facts["ways"]["every cell"]["times_faster"] == 1


def test_merged_cells_over_two_frames() -> None:
    facts = run(clips.clip("late.mp4"), "--size", "56", "--merge", "2", "--temporal-patch", "2")
    assert facts["ways"]["every cell"]["tokens"] == facts["frames"] // 2 * 4


def test_a_tower_encodes_every_way(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"image_size": 48, "patch_size": 16, "hidden_size": 32, "intermediate_size": 32,
             "num_hidden_layers": 2, "num_attention_heads": 2}  # fmt: skip
    monkeypatch.setitem(TOWERS, "siglip-base", small)
    facts = run(clips.clip("late.mp4"), "--tower", "siglip-base")
    assert facts["grid"] == [48, 48]
    assert set(facts["ways"]) == {"every cell", "patchgate, kept cells only", "patchgate"}
    assert all(way["ms_per_frame"]["encode"] > 0 for way in facts["ways"].values())
    shares = facts["shares"]
    assert 0 < shares["tower_share"] < 1 < shares["limit"]
    for name, way in shares["ways"].items():
        parts, plain = facts["where"][name], facts["where"]["every cell"]
        assert way["saving"] == pytest.approx(1 - parts["tower"] / plain["tower"])
        assert way["ceiling"] == pytest.approx(1 / (1 - shares["tower_share"] * way["saving"]))
        assert way["times_faster"] == pytest.approx(plain["total"] / parts["total"])


def test_the_parts_of_the_time_add_up() -> None:
    facts = run(clips.clip("late.mp4"), "--size", "56")
    assert set(facts["where"]) == set(facts["ways"])
    assert set(facts["where"]["every cell"]) == {"decode", "resize", "rest", "total"}
    expected = {"decode", "resize", "gate", "gather", "rest", "total"}
    assert set(facts["where"]["patchgate"]) == expected
    for name, parts in facts["where"].items():
        spent = dict(parts)
        total = spent.pop("total")
        assert all(ms >= 0 for ms in spent.values())
        assert sum(spent.values()) == pytest.approx(total)
        assert total - spent["decode"] == pytest.approx(
            facts["ways"][name]["ms_per_frame"]["total"], rel=0.02
        )
    assert facts["where"]["every cell"]["decode"] == facts["where"]["patchgate"]["decode"] > 0
    assert facts["shares"] is None


@dataclasses.dataclass
class Runs:
    stages: list[dict[str, float]]
    seconds: list[float]


def test_what_a_saving_in_the_tower_is_worth() -> None:
    """By hand: 10 frames; 1 s of decoding, 1 s of resizing, 7 s of the tower, 1 s of the rest."""
    plain = Runs([{"gather": 1.0, "encode": 7.0}] * 3, [9.0] * 3)
    stages = {"grid": 0.5, "gate": 0.25, "compact": 0.25, "gather": 0.5, "encode": 3.5}
    gated = Runs([stages] * 3, [6.0] * 3)
    parts = bench_share.where({"every cell": plain, "ours": gated}, 1.0, 10)
    assert parts["every cell"] == pytest.approx(
        {"decode": 100, "resize": 100, "tower": 700, "rest": 100, "total": 1000}
    )
    assert parts["ours"] == pytest.approx(
        {"decode": 100, "resize": 50, "gate": 50, "gather": 50, "tower": 350, "rest": 100,
         "total": 700}
    )  # fmt: skip
    found = bench_share.shares(parts)
    assert found is not None
    assert found["tower_share"] == pytest.approx(0.7)
    assert found["limit"] == pytest.approx(1 / 0.3)
    ours = {"saving": 0.5, "ceiling": 1 / (1 - 0.7 * 0.5), "times_faster": 1 / 0.7}
    assert found["ways"] == {"ours": pytest.approx(ours)}
    said = bench_share.lines({"where": parts, "shares": found})
    assert "tower 700.00 (70%)" in said["time, every cell"]
    assert said["tower's share"].startswith("70.0% of the time of every cell")
    assert "50.0% of the tower saved: by itself 1.54 x" in said["ceiling, ours"]
    assert "1 / (1 - 0.700 * 0.500); measured, with" in said["ceiling, ours"]
    assert said["ceiling, ours"].endswith("cost and save, 1.43 x")


def test_a_tower_that_is_slower_than_before_has_a_ceiling_below_1() -> None:
    plain, gated = Runs([{"encode": 4.0}], [4.0]), Runs([{"encode": 5.0}], [5.0])
    found = bench_share.shares(bench_share.where({"every cell": plain, "ours": gated}, 1.0, 1))
    assert found is not None
    assert found["ways"]["ours"]["saving"] == pytest.approx(-0.25)
    assert found["ways"]["ours"]["ceiling"] == pytest.approx(1 / 1.2)


def test_for_a_person_there_is_a_line_a_way() -> None:
    path = clips.clip("late.mp4")
    done = CliRunner().invoke(app, ["bench", str(path), "--size", "56", *QUICK])
    assert done.exit_code == 0
    for word in ("every cell", "patchgate", "ms a frame", "gather", "time, every cell  ",
                 "decode", "there is no tower"):  # fmt: skip
        assert word in done.stdout


def test_wrong_usage_is_named() -> None:
    path = clips.clip("late.mp4")
    assert "expected siglip-base or siglip-so400m, got 'x'" in refused(path, "--tower", "x")
    assert "--size: --tower sets it" in refused(path, "--tower", "siglip-base", "--size", "64")
    assert "--fit: bench stretches" in refused(path, "--fit", "pad")


def test_a_missing_file_is_an_error_without_a_traceback() -> None:
    done = CliRunner().invoke(app, ["bench", "nowhere.mp4", *QUICK])
    assert done.exit_code == 1


def test_ways_see_the_same_frames() -> None:
    from patchgate.cli.bench_ways import ways_of

    with patchgate.open_video(clips.clip("late.mp4")) as video:
        batch = next(iter(video))
    gate = patchgate.Gate(size=(56, 56))
    way = ways_of(gate, None, 0.05)["patchgate"]()
    kept = way.push(batch, StageSeconds())
    planes = grid.to_grid(batch, (56, 56))
    assert kept == int((gate.fresh().push(planes).kind == 2).sum())
