"""benchmarks/proof/changing.py: the settings, what is kept at cuts, and the tables."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import harness
import pytest
import torch
from gate_videos import still, texture
from proof import changing, losses, page, run
from proof.changing import DEFAULTS, FIRST_SEED, Chosen, Cuts
from reading.ladder import LADDER
from reading.methods import RULES, Dense, Seen, ours
from reading.rivals import Rival
from reading.score import Cost, Row

COST = Cost(tokens=100, seconds=2, cells=1000, kept_flops=0.1, full_flops=0.2, own_flops=0.3)
CHOICE = Chosen(ours(threshold=8), (Rival("RLT", 0.1), Rival("GRT gate, L2", 2)))


def row(method: Any, tokens: float, retained: float = 10, group: str = "fade") -> Row:
    cost = replace(COST, tokens=tokens)
    return Row("ViT", "s", "c", method.family, method.setting, group, "what", 10, retained, 10,
               retained, cost)  # fmt: skip


def rows(group: str, **changes: Any) -> list[Row]:
    """Of every method: ours with its rules at half of the tokens."""
    plain, light, memory = CHOICE.rules
    spent = dict.fromkeys((Dense(), *DEFAULTS, plain, *CHOICE.peers), 100.0)
    spent |= dict.fromkeys((light, memory, *RULES), 50.0)
    return [row(method, tokens, group=group, **changes) for method, tokens in spent.items()]


def told(found: list[Row], cuts: list[Cuts]) -> dict[str, list[dict[str, Any]]]:
    return changing.tables(found, cuts, {"ViT": CHOICE})


# --- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", ["ocr", "vit"])
def test_settings_are_those_that_were_found_on_other_clips(reader: str) -> None:
    found = changing.chosen(reader)
    assert found.ours in LADDER
    assert len(found.peers) == changing.PEERS
    assert {peer.looks for peer in found.peers} == {"pixels"}
    plain, light, memory = found.rules
    assert light.settings == plain.settings | {"illumination": "global"}
    assert memory.settings == plain.settings | {"memory": 4}
    assert FIRST_SEED > 5  # the greatest seed of test clips in other benchmarks


def test_without_settings_it_is_said_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changing, "READOUT", tmp_path / "readout.json")
    changing.chosen.cache_clear()
    with pytest.raises(SystemExit, match=r"run python benchmarks/proof/run\.py readout first"):
        changing.chosen("vit")


def test_a_second_run_adds_its_reader(tmp_path: Path) -> None:
    path, first = tmp_path / "changing.json", told(rows("fade"), [])
    harness.write(path, first, seconds=3)
    other = [replace(each, reader="PP-OCR") for each in rows("fade")]
    second = changing.tables(other, [], {"PP-OCR": CHOICE})
    tables, source = run.added(path, second, {"seconds": 4})
    assert source["seconds"] == 7
    for title, found in tables.items():
        assert found == [*first[title], *second[title]]
    again, _ = run.added(path, first, {"seconds": 4})
    assert again == first  # in the place of its own rows


# --- cuts -------------------------------------------------------------------------------------


def test_cuts_back_cost_nothing_where_the_picture_is_the_same() -> None:
    shots = [still((64, 96), 5, seed, c=3) for seed in (1, 2, 1, 2, 1)]
    shots[3] = shots[3].clone()
    shots[3][:, :, :16, :16] = texture((16, 16), 9, 3)  # a word is new
    seen = Seen(torch.cat(shots), 25, "bt709")
    (found,) = changing.cuts_of(("ViT", "dialogue", "default"), seen, ours())
    assert (found.cuts, found.usual) == (3, 0)
    assert found.kept == pytest.approx(1 / 24)
    assert not list(changing.cuts_of(("ViT", "fade", "default"), seen, ours()))


# --- tables -----------------------------------------------------------------------------------


def test_groups_say_tokens_a_second_and_what_is_retained() -> None:
    tables = told(rows("fade"), [])
    first, all_ = tables["with one setting for all clips"]
    assert first["patchgate"] == "50 (1.0)"
    assert first["with illumination"] == "25 (1.0)"
    assert first["RLT"] == "50 (1.0)"
    assert all_["group"] == "all"
    assert tables["with the defaults"][0]["memory=4"] == "25 (1.0)"


def test_work_of_a_gated_tower_has_a_table_of_its_own() -> None:
    gated = [replace(each, reader="ViT, gated") for each in rows("fade")]
    (first, _) = told([*rows("fade"), *gated], [])["in a gated tower"]
    assert first["reader"] == "ViT, gated"
    assert first["default"] == "0.3 (1.0)"


def test_an_aim_is_reached_only_if_as_much_is_read() -> None:
    def reached(found: list[Row]) -> list[str]:
        return [each[""] for each in told(found, [])["aims of light and returns"]]

    assert reached([*rows("fade"), *rows("window")]) == ["reached"] * 3
    _, light, _ = CHOICE.rules
    worse = [replace(r, retained=9) if r.setting == light.setting else r for r in rows("fade")]
    assert reached(worse) == ["missed"]
    dearer = [replace(r, cost=COST) for r in rows("window")]
    assert reached(dearer) == ["missed"] * 2


def test_a_cut_back_is_held_against_a_key_frame() -> None:
    cuts = [
        Cuts("ViT", "dialogue", "default", 3, 0.3, 0.01),
        Cuts("ViT", "dialogue", "default", 1, 0.3, 0.03),
    ]
    tables = told(rows("fade"), cuts)
    assert tables["cuts"][0]["kept at a cut"] == 0.15
    assert tables["cuts"][0]["kept in a usual frame"] == 0.02
    assert tables["aims of light and returns"][-1][""] == "missed"
    (said,) = losses.of({"changing": tables})
    assert "dialogue, default: share of a key frame at a cut back: 0.15, where <= 0.1" in said


def test_the_page_tells_how_each_table_is_read() -> None:
    tables = told(rows("fade"), [Cuts("ViT", "dialogue", "default", 1, 0.05, 0.01)])
    assert all(page.TOLD[title] for title in tables)
    source = {"date": "d", "commit": "c", "command": "x", "cpu": "y", "cores": 1, "threads": 1,
              "torch": "t", "seconds": 1, "load average before": 0}  # fmt: skip
    text = page.page({"changing": {"provenance": source, "rows": tables}}, {})
    assert "## Light that changes, pictures that return" in text
    assert "Nothing in what was measured." in text
