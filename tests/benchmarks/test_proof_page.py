"""benchmarks/proof: what is read as tables, and the page that is written of all."""

import json
from pathlib import Path
from typing import Any

import harness
from peers import CHOOSERS
from proof import losses, page, plot, rates, readout, speed
from proof.options import Steps
from proof_cases import RISING, ROWS, answered, row
from reading.ladder import LADDER
from reading.methods import Dense

# --- tables of what is read -------------------------------------------------------------------


def test_fewest_tokens_that_retain_enough() -> None:
    assert readout.fewest(r for r in ROWS if r.family == "patchgate") == 50  # 100 in 2 s
    assert readout.fewest(r for r in ROWS if r.family == "EVS") == 500  # all cells: none suffices


def test_the_duel_is_with_the_best_peer_and_not_with_controls() -> None:
    (found,) = readout.duel(ROWS)
    assert (found["best peer"], found["tuned"], found["ours, tuned"]) == ("RLT", 75, 50)
    assert (found["ours, default"], found["ours / best"], found["aim"]) == (100, 0.67, "<= 0.5")
    assert found[""] == "missed"


def test_one_setting_for_all_clips_beside_the_duel() -> None:
    (found,) = readout.duel(ROWS)
    assert (found["one setting, ours"], found["one setting, best peer"]) == (50, 75)
    assert (found["of it"], found["one setting, ours / best"]) == ("RLT", 0.67)
    (found,) = readout.duel([r for r in ROWS if r.family != "RLT"])  # EVS never retains enough
    assert (found["one setting, ours"], found["of it"]) == (50, "-")
    assert found["one setting, ours / best"] == "-"


def test_one_setting_must_do_for_every_clip() -> None:
    second = [
        row("patchgate", "default", 300, 10, "d"),
        row("patchgate", "threshold=8", 80, 5, "d"),
    ]
    single = readout.one_setting([*ROWS, *second])["patchgate"]
    assert single is not None
    assert (single.setting, single.total.tokens) == ("default", 500)


def test_settings_are_counted() -> None:
    found = {r["method"]: (r["settings"], r["compared"]) for r in readout.tried(ROWS)}
    assert found == {"patchgate": (3, "yes"), "RLT": (2, "yes"), "random": (1, ""),
                     "EVS": (1, "yes")}  # fmt: skip


def test_ours_is_tuned_over_no_more_settings_than_peers_may_be() -> None:
    names = [step.setting for step in LADDER]
    assert len(set(names)) == len(names)
    assert len(names) <= max(len({peer.own, *peer.sweep}) for peer in CHOOSERS.values())
    assert names[0] == "default"
    assert {step.settings["sub_blocks"] for step in LADDER} == {2, 4, 8, 16}
    few = readout.before_tower(Steps(1, 3))  # --few
    assert set(LADDER) < set(few)
    assert len(readout.rivals("pixels", 1)) == sum(
        len({peer.own, *peer.sweep}) for peer in CHOOSERS.values() if peer.looks == "pixels"
    )
    assert set(readout.rivals("pixels", 1)) < set(few)


def test_equal_reading_and_defaults() -> None:
    found = {r["method"]: r for r in readout.at_equal_reading(ROWS)}
    assert found["patchgate"]["setting"] == "threshold=8"
    assert found["RLT"]["tokens/s"] == 75
    assert (found["RLT"]["ours / this"], found["patchgate"]["ours / this"]) == (0.67, 1)
    assert found["EVS"]["setting"] == "none retains enough"
    assert {r["method"]: r["setting"] for r in readout.at_defaults(ROWS)} == {
        "dense": Dense.setting, "patchgate": "default", "RLT": "tau=0.1", "EVS": "share=0.5",
    }  # fmt: skip


# --- the page ---------------------------------------------------------------------------------


def tables() -> dict[str, Any]:
    """Files of every section, as small as they come; ours loses once in each."""
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
        "speed": {"stages": timed, "streams": [live],
                  "at equal reading": [{"clip": "x", "RLT / patchgate": 1.2}]},
    }  # fmt: skip


def test_losses_are_said_from_the_figures() -> None:
    told = " ".join(losses.of(tables()))
    assert "the aim is missed in 1 of 1 groups" in told
    assert "more tokens than the peer that needs fewest" not in told
    assert "x: patchgate, kept cells only runs at 0.75 x the speed" in told
    assert "8 live streams: patchgate, residual runs at 0.5 x" in told
    assert "RLT takes 1.2 x our time, less than 1.5 x" in told
    assert "answers most" not in told  # it rises all the way
    assert "more is answered" not in told  # EVS and ours both answer all at 30


def test_a_group_lost_with_one_setting_is_said() -> None:
    lost = tables()
    lost["readout"]["by group"][0]["one setting, ours / best"] = 1.3
    told = " ".join(losses.of(lost))
    assert "fewest over all in 1 of 1 groups: scroll (ViT: 1.3 x)" in told


def test_thresholds_are_on_one_line_if_all_else_is_the_same() -> None:
    def knob(method: str, setting: str) -> str:
        return plot._knob({"method": method, "setting": setting})

    assert knob("patchgate", "default") == knob("patchgate", "threshold=8") == "patchgate"
    assert knob("patchgate", "sub_blocks=4, threshold=24") == "patchgate, sub_blocks=4"
    assert knob("RLT", "tau=0.1") == "RLT"


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
