"""``patchgate bench``: what it counts is what the library keeps; times are only there."""

import json

import clips
import pytest
from typer.testing import CliRunner

import patchgate
from patchgate import grid
from patchgate.cli import app, bench
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
    monkeypatch.setitem(bench._TOWERS, "siglip-base", small)
    facts = run(clips.clip("late.mp4"), "--tower", "siglip-base")
    assert facts["grid"] == [48, 48]
    assert set(facts["ways"]) == {"every cell", "patchgate, kept cells only", "patchgate"}
    assert all(way["ms_per_frame"]["encode"] > 0 for way in facts["ways"].values())


def test_for_a_person_there_is_a_line_a_way() -> None:
    path = clips.clip("late.mp4")
    done = CliRunner().invoke(app, ["bench", str(path), "--size", "56", *QUICK])
    assert done.exit_code == 0
    for word in ("every cell", "patchgate", "ms a frame", "gather"):
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
