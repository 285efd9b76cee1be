"""benchmarks/light.py and benchmarks/memory.py: what two rules of the gate cost, in small."""

import json
from pathlib import Path

import harness
import light
import memory
import pytest
import torch

from patchgate import Gate


def rows_of(path: Path) -> list[dict[str, object]]:
    rows = json.loads(path.read_text())["rows"]
    assert isinstance(rows, list)
    return rows


@pytest.fixture(autouse=True)
def _threads():
    """Both time one thread."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_light_is_timed_beside_a_gate_without(tmp_path: Path) -> None:
    clip = str(harness.SHIPPED / "asl_book.mkv")
    light.main([clip, "--frames", "3", "--pairs", "1", "--out", str(tmp_path / "l.json")])
    rows = {row["clip"]: row for row in rows_of(tmp_path / "l.json")}
    assert list(rows) == ["still", "noise of 2 grey levels", "a pan by 1.25 pixels",
                          "a cut every frame", "a fade to a fifth", "asl_book.mkv"]  # fmt: skip
    for name, row in rows.items():
        assert row["us a frame without"] > 0, name
        assert row["with, over that"] > 0, name
        assert (row["aim"] == "") == (name == "a fade to a fifth")


def test_the_fade_is_one_that_light_follows() -> None:
    fade = dict(light.clips([], 12))["a fade to a fifth"]
    kept = {
        rule: int((Gate(illumination=rule).push(fade).kind == 2).sum()) for rule in (None, "global")
    }
    assert kept["global"] < 0.5 * kept[None]


def test_memory_is_timed_and_what_it_saves_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MEMORIES", (1, 2))
    monkeypatch.setattr(memory, "times", lambda frames, pairs: [{"clip": "a", "memory=1": 1.0}])
    monkeypatch.setattr(memory, "footage", lambda *given: pytest.fail("only dialogue is drawn"))
    monkeypatch.setattr(memory, "range", lambda count: (), raising=False)
    memory.main(["--quick", "--out", str(tmp_path)])
    (row,) = rows_of(tmp_path / "returns_saved.json")
    assert row["clip"] == "dialogue"
    assert row["memory=2"] < 0.5 * row["memory=None"]
    assert row["frames of returns"] == 4
    assert rows_of(tmp_path / "returns.json") == [{"clip": "a", "memory=1": 1.0}]


def test_times_are_ratios_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMORIES", (1,))
    rows = memory.times(4, 1)
    assert len({row["clip"] for row in rows}) == len(rows) >= 4
    assert all(row["memory=1"] > 0 for row in rows)


def test_a_quick_run_leaves_the_results_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    monkeypatch.setattr(memory, "times", lambda frames, pairs: [{"clip": "a"}])
    memory.main(["--quick", "--times"])
    assert not list(tmp_path.iterdir())
