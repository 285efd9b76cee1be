"""benchmarks/pretrained: methods on a tiny tower, clips, times, and going on after an interrupt."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import clips as cases
import harness
import pytest
import torch
from pretrained import clips, measure, run, scenes, weights
from pretrained.clips import Film, normalised
from pretrained.kept import Kept
from pretrained.ladder import (
    DEFAULTS,
    DENSE,
    FEW,
    OTHERS,
    RLT,
    SAMPLED,
    STEPS,
    Step,
    steps_of,
    steps_of_scenes,
)
from pretrained.methods import Dense, Inside, RunLength, Sampled, dense, gated
from pretrained_cases import pixels, tiny

# --- methods ----------------------------------------------------------------------------------


def test_held_frames_show_the_last_one_that_was_computed() -> None:
    model, clip = tiny().model, normalised(pixels(5))
    found, whole = Sampled(3)(model, clip), dense(model, clip)
    assert torch.allclose(found.features, whole[[0, 0, 0, 3, 3]], atol=1e-5)
    assert (found.work, found.kept) == (pytest.approx(0.4), pytest.approx(0.4))


@pytest.mark.parametrize("method", [
    Dense(), gated(threshold=0, tolerance=0), gated(threshold=4, tolerance=0),
    Inside("Eventful", 1.0), Inside("STC", 1.0),
])  # fmt: skip
def test_methods_that_leave_nothing_out_are_the_dense_tower(method: Any) -> None:
    model, clip = tiny().model, normalised(pixels())
    found = method(model, clip)
    assert torch.allclose(found.features, dense(model, clip), atol=1e-4)
    assert found.cls


@pytest.mark.parametrize("peer", ["Eventful", "STC"])
def test_all_of_a_peers_work_is_the_dense_towers(peer: str) -> None:
    assert Inside(peer, 1.0)(tiny().model, normalised(pixels())).work == pytest.approx(1)


def test_run_length_keeps_what_its_mask_keeps_and_has_no_cls() -> None:
    model, clip = tiny().model, normalised(pixels())
    found = RunLength(-1.0)(model, clip)  # all cells
    assert torch.allclose(found.features[:, 1:], dense(model, clip)[:, 1:], atol=1e-4)
    assert not found.cls
    few = RunLength(0.1)(model, clip)
    assert few.kept == pytest.approx((16 + 5) / (6 * 16))  # the first frame, then the flicker
    assert few.work < found.work


def test_sampling_and_the_gate_multiply() -> None:
    model, clip = tiny().model, normalised(pixels(8))
    residual = gated(tolerance=math.inf)
    whole, half = residual(model, clip), Sampled(2, residual)(model, clip)
    assert whole.kept == pytest.approx((16 + 7) / 128)
    assert half.kept == pytest.approx(16 / 128)  # every 2nd frame is the same
    assert half.features.shape == whole.features.shape


def test_every_step_has_a_name_of_its_own() -> None:
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    assert DEFAULTS in STEPS
    assert {step.family for step in STEPS if step.constructed} == {DENSE, SAMPLED}
    assert "patchgate, threshold=4, context=kept" in names
    assert "patchgate, threshold=4, tolerance=inf" in names


def test_few_steps_are_some_of_all() -> None:
    assert set(FEW) < set(STEPS)
    assert DEFAULTS in FEW
    assert all(step.timed != step.constructed for step in FEW)
    assert not Step(OTHERS, gated(threshold=12)).timed
    assert steps_of("asl_book.mkv", 224) == steps_of_scenes(224) == STEPS
    assert steps_of("asl_book.mkv", 448) == steps_of("other.mp4", 224) == FEW


# --- clips ------------------------------------------------------------------------------------


def test_a_clip_that_is_too_short_is_named(tmp_path: Path) -> None:
    path = cases.write(tmp_path / "short.mp4", frames=39)
    with pytest.raises(clips.TooShort, match=r"short.mp4: expected at least 40 frames, got 39"):
        clips.film(path, 28, 12)


def test_a_film_is_the_clips_beginning() -> None:
    film = clips.film(cases.clip("h264.mp4"), 28, 12)
    assert (film.rgb.shape, film.rgb.dtype) == ((12, 3, 28, 28), torch.uint8)
    back = film.pixel_values * torch.tensor(weights.STD).view(3, 1, 1)
    back = (back + torch.tensor(weights.MEAN).view(3, 1, 1)) * 255
    assert torch.allclose(back, film.rgb.float(), atol=1e-3)


def test_clips_are_those_that_ship_and_those_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.mp4").touch()
    monkeypatch.setenv("PATCHGATE_CLIPS", str(tmp_path))
    assert [path.name for path in clips.paths()] == [
        "asl_book.mkv", "mine.mp4", "torchcodec_nasa_13013.mp4"]  # fmt: skip
    assert clips.paths(["mine", "asl"])[1] == tmp_path / "mine.mp4"
    with pytest.raises(ValueError, match=r"expected some of asl_book.mkv, mine.mp4, .*, got bikes"):
        clips.paths(["mine", "bikes"])


# --- measuring --------------------------------------------------------------------------------


def test_pairs_are_run_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = [0.0], []
    monkeypatch.setattr(measure.time, "perf_counter", lambda: now[0])

    def call(name: str, *seconds: float) -> Any:
        left = list(seconds)

        def run() -> None:
            order.append(name)
            now[0] += left.pop(0)

        return run

    found = measure.in_turn(call("method", 1, 9, 2), call("dense", 4, 5, 8), 3)
    assert order == ["method", "dense", "dense", "method", "method", "dense"]
    assert found == ([1, 9, 2], [4, 5, 8])
    assert found.share == 2 / 5
    assert found.spread == [0.25, 1.8]


def test_rows_of_a_clip_and_of_a_scene() -> None:
    steps = [Step(DENSE, Dense()), Step(SAMPLED, Sampled(2)), DEFAULTS, Step(RLT, RunLength(0.3))]
    pretrained = tiny()
    rows = measure.clip(Film("a.mkv", pixels(8)), pretrained, steps, pairs=1)
    whole, held, ours, peer = rows
    assert (whole["time"], whole["changed"]) == (1, pytest.approx(0, abs=1e-6))
    assert held["time"] == held["work"] == 0.5
    assert ours["time"] > 0
    assert ours["dense ms"] > 0
    assert (ours["clip"], ours["side"], ours["frames"]) == ("a.mkv", 56, 8)
    assert (peer["cls"], peer["time"]) == (None, None)
    scene = scenes.scene("s", pixels(1)[0], pixels(4), scenes.LARGE)
    rows = measure.scene(scene, pretrained, steps)
    assert [set(row) >= {"scene", "side", "j", "work"} for row in rows] == [True] * 4
    assert all(0 <= row["j"] <= 1 for row in rows)


def test_a_method_that_gives_nan_is_named() -> None:
    class Broken(Dense):
        name = "broken"

        def __call__(self, *given: Any) -> Any:
            found = super().__call__(*given)
            return found._replace(features=found.features * torch.nan)

    with pytest.raises(ValueError, match="features: expected finite numbers") as told:
        measure.clip(Film("a.mkv", pixels(8)), tiny(), [Step(DENSE, Broken())], 1)
    assert told.value.__notes__ == ["a.mkv: broken"]
    scene = scenes.scene("s", pixels(1)[0], pixels(4), scenes.LARGE)
    with pytest.raises(ValueError, match="features: expected finite numbers") as told:
        measure.scene(scene, tiny(), [Step(DENSE, Broken())])
    assert told.value.__notes__ == ["s: broken"]


# --- going on ---------------------------------------------------------------------------------


def parts(folder: Path, settings: Any = 1, commit: str = "abc", **more: Any) -> tuple[Kept, list]:
    """Two parts, the second of which fails; and which of them were measured."""
    kept, measured = Kept(settings, commit, folder=folder, **more), []
    for name, value in (("clip one", 0.123456789), ("clip/one", None)):

        def rows(name: str = name, value: float | None = value) -> list[dict[str, Any]]:
            measured.append(name)
            if value is None:
                raise KeyboardInterrupt
            return [{"clip": name, "value": value}]

        try:
            kept.part(name, rows)
        except KeyboardInterrupt:
            break
    return kept, measured


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    kept, measured = parts(tmp_path)
    assert measured == ["clip one", "clip/one"]
    assert kept.rows()[0] == [{"clip": "clip one", "value": 0.123457}]
    kept, measured = parts(tmp_path)
    assert measured == ["clip/one"]
    kept.part("clip/one", lambda: [{"clip": "clip/one", "value": 2}])
    rows, facts = kept.rows()
    assert sorted(row["clip"] for row in rows) == ["clip one", "clip/one"]
    assert facts["seconds"] == 0
    assert facts["date"] == harness.provenance()["date"]


@pytest.mark.parametrize("other", [{"settings": 2}, {"commit": "abd"}, {"fresh": True}])
def test_figures_of_other_settings_or_code_are_not_taken(
    tmp_path: Path, other: dict[str, Any]
) -> None:
    parts(tmp_path)
    assert parts(tmp_path, **other)[1] == ["clip one", "clip/one"]


def test_nothing_is_found_again_of_code_that_was_not_committed(tmp_path: Path) -> None:
    assert [len(parts(tmp_path, commit="abc+")[1]) for _ in range(2)] == [2, 2]


# --- the command ------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "told"), [
    (["--sides", "224", "225"], "--sides: expected multiples of 14, the tower's patch, got 225"),
    (["--frames", "20"], "--frames: expected 12 or more at every size, got 10"),
    (["--pairs", "0"], "--pairs: expected 1 or more, got 0"),
])  # fmt: skip
def test_options_out_of_range(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run.arguments(words)
    assert told in capsys.readouterr().err


def test_large_pictures_get_half_of_the_frames() -> None:
    assert [run.frames_at(side, 48) for side in (224, 448)] == [48, 24]


def test_the_command_measures_once_and_says_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cases.write(tmp_path / "short.mp4", frames=8)
    monkeypatch.setenv("PATCHGATE_CLIPS", str(tmp_path))
    steps = (Step(DENSE, Dense()), Step(SAMPLED, Sampled(2)))
    for name in ("steps_of", "steps_of_scenes"):
        monkeypatch.setattr(run, name, lambda *given: steps)
    monkeypatch.setattr(run, "commit", lambda: "abc")
    monkeypatch.setattr(run, "Kept", partial(Kept, folder=tmp_path / "kept"))
    wanted = run.arguments(["--sides", "56", "--frames", "12", "--pairs", "1"])
    kept = run.measured(wanted, tiny(), clips.paths())
    assert "left out: short.mp4: expected at least 40 frames, got 8" in capsys.readouterr().out
    rows, _ = kept.rows()
    assert {row["clip"] for row in rows if "clip" in row} == {
        "asl_book.mkv", "torchcodec_nasa_13013.mp4"}  # fmt: skip
    assert len({row["scene"] for row in rows if "scene" in row}) == 6
    monkeypatch.setattr(measure, "clip", None)  # would fail if it were called
    monkeypatch.setattr(measure, "scene", None)
    assert run.measured(wanted, tiny(), clips.paths(["asl", "torch"])).rows()[0] == rows
    wanted = run.arguments(["--sides", "56", "--frames", "12", "--clips", "short"])
    with pytest.raises(clips.TooShort):
        run.measured(wanted, tiny(), clips.paths(["short"]))
