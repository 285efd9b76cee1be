"""``advise``: what it measures is what the library and the tower give; what it advises follows."""

import math

import clips
import pytest
import torch
from gated_cases import MEAN, SIDE, STD, P, tower
from report_clips import lossless, story

import patchgate
from patchgate import grid
from patchgate._tensors import arange
from patchgate.gather import gather
from patchgate.report.advice.found import Advice, Option

SIZE = (42, 56)
SPEC = patchgate.PixelSpec(SIDE, MEAN, STD, P)


@pytest.fixture(scope="module")
def clip():
    return clips.clip("h264.mp4")


@pytest.fixture(scope="module")
def busy(tmp_path_factory):
    """One cell is new in every frame, all others fade a little, and there is a cut."""
    return lossless(tmp_path_factory.mktemp("advise") / "story.mp4", story())


def frames_of(path, size):
    with patchgate.open_video(path) as video:
        batches = list(video)
    return batches, torch.cat([grid.to_grid(batch, size) for batch in batches])


def cell_errors(shown, frames):
    """The mean difference of each cell's worst plane, by slicing: ``[T, N]``."""
    (_, _, height, width), p = frames.shape, 14
    found = []
    for y in range(0, height, p):
        for x in range(0, width, p):
            one, other = (a[:, :, y : y + p, x : x + p].double() for a in (shown, frames))
            found.append((one - other).abs().mean((2, 3)).amax(1) / 255)
    return torch.stack(found, 1)


def means(shown, frames):
    """The errors over all cells, and over the tenth that changed most in five frames."""
    errors, change = cell_errors(shown, frames), cell_errors(frames[5:], frames[:-5])
    most = change.flatten().topk(round(0.1 * change.numel())).indices
    return float(errors.mean()), float(errors[5:].flatten()[most].mean())


def option(found, **settings):
    [one] = [each for each in found.options if dict(each.settings) == settings]
    return one


# ---- without a tower


@pytest.mark.parametrize("threshold", [2, 4, 12])
def test_the_gates_figures_are_those_of_tokenize(busy, threshold):
    found = patchgate.advise(busy, size=112)
    one = option(found, threshold=threshold)
    tokens = patchgate.tokenize(busy, size=112, threshold=threshold)
    assert one.tokens == len(tokens)
    assert one.kept_share == one.work == pytest.approx(tokens.kept_share)
    assert one.tokens_per_second == pytest.approx(len(tokens) / 4.0)
    expected = means(tokens.reconstruct(), frames_of(busy, (112, 112))[1])
    assert (one.error, one.changed_error) == pytest.approx(expected, abs=1e-6)
    assert 0 < one.worst <= one.limit == threshold
    assert one.score == pytest.approx(1 - max(expected))


@pytest.mark.parametrize("every", [2, 3, 5, 10])
def test_every_kth_frame_is_held(busy, every):
    one = option(patchgate.advise(busy, size=112, chunk=7), every=every)
    frames = frames_of(busy, (112, 112))[1]
    held = frames[torch.arange(len(frames)) // every * every]
    assert one.tokens == 64 * math.ceil(40 / every)
    assert one.work == one.kept_share == one.tokens / (64 * 40)
    assert (one.error, one.changed_error) == pytest.approx(means(held, frames), abs=1e-6)
    assert one.limit is None
    assert one.only_samples


def test_the_gate_on_every_second_frame_is_both(busy):
    one = option(patchgate.advise(busy, size=112, chunk=5), every=2, threshold=4)
    frames = frames_of(busy, (112, 112))[1]
    found = patchgate.Gate(size=112).push(frames[::2])
    assert one.tokens == int((found.kind == patchgate.Kind.CHANGED).sum())
    held = patchgate.tokenize(busy, size=112, fps=5).reconstruct()  # of 10 frames a second
    expected = means(held.repeat_interleave(2, 0), frames)
    assert (one.error, one.changed_error) == pytest.approx(expected, abs=1e-6)
    assert one.limit is None, "of the frames between, the gate knows nothing"


def test_chunks_change_nothing(clip):
    one, other = (patchgate.advise(clip, size=SIZE, chunk=n) for n in (3, 16))
    assert one.options == other.options


def test_seconds_and_a_start(clip):
    found = patchgate.advise(clip, size=SIZE, seconds=0.6, start=0.4)
    assert found.frames == 15
    assert found.seconds == pytest.approx(0.6)
    tokens = patchgate.tokenize(clip, size=SIZE, start=0.4, end=1.0)
    assert option(found, threshold=4).tokens == len(tokens)


def test_merged_cells_over_two_frames(clip):
    gate = patchgate.Gate(size=56, merge=2, temporal_patch=2)
    found = patchgate.advise(clip, gate=gate)
    assert (found.frames, found.cells, found.tubelet) == (20, (2, 2), 2)
    assert option(found, threshold=4).tokens == len(patchgate.tokenize(clip, gate=gate))
    assert "every 2nd tubelet" in str(found)


def test_rules_and_settings_of_ones_own(clip):
    wanted = [{"threshold": 6}, {"sub_blocks": 1}, {"every": 4}, {"every": 1}, {}]
    found = patchgate.advise(clip, size=SIZE, threshold=5, settings=wanted)
    assert [dict(each.settings) for each in found.options] == wanted[:4], "{} is every=1 again"
    assert [each.limit for each in found.options] == [6, 5, None, 5]
    usual = patchgate.advise(clip, size=SIZE, threshold=5)
    assert dict(usual.options[0].settings) == {"threshold": 5}


# ---- with a tower


def pixel_values(path):
    """Every frame, as the tower takes it: ``[T, 3, H, W]`` float64."""
    batches, _ = frames_of(path, (SIDE, SIDE))
    cells, h = (SIDE // P) ** 2, SIDE // P
    rows = torch.cat([gather(batch, arange(len(batch) * cells), SPEC) for batch in batches])
    cut = rows.view(-1, h, h, 3, P, P).permute(0, 3, 1, 4, 2, 5)
    return cut.reshape(-1, 3, SIDE, SIDE).double()


def feature_means(shown, dense):
    def apart(one, other):
        return 1 - torch.nn.functional.cosine_similarity(one, other, dim=-1)

    errors, change = apart(shown, dense), apart(dense[5:], dense[:-5])
    most = change.flatten().topk(round(0.1 * change.numel())).indices
    return float(errors.mean()), float(errors[5:].flatten()[most].mean())


@pytest.mark.parametrize("family", ["siglip", "clip"])
@pytest.mark.parametrize("context", ["full", "kept"])
def test_sampling_is_compared_with_the_models_own_call(clip, family, context):
    model = tower(family)
    gated = patchgate.gated(model, SPEC, context=context)
    found = patchgate.advise(clip, gated, settings=[{"every": 3}, {"threshold": 4}], chunk=7)
    prefix = int(family == "clip")
    with torch.no_grad():
        dense = model(pixel_values(clip)).last_hidden_state[:, prefix:]
    held = dense[torch.arange(len(dense)) // 3 * 3]
    one, other = found.options
    assert (one.error, one.changed_error) == pytest.approx(feature_means(held, dense), abs=1e-6)
    assert one.work == 14 / 40
    assert other.tokens == len(patchgate.tokenize(clip, gated))
    assert one.worst is one.limit is None
    assert found.tower == type(model).__name__


def test_what_is_shown_is_what_the_stream_of_the_tower_shows(clip):
    """Frames of which a gate sees the same: pixels that keep every difference, and no motion."""
    gated = patchgate.gated(tower("clip"), SPEC, threshold=0, search_radius=0, tolerance=0.3)
    found = patchgate.advise(clip, gated, chunk=9, settings=[{}, {"tolerance": 0}])
    values = pixel_values(clip)
    with torch.no_grad():
        dense = gated.tower(values).last_hidden_state[:, 1:]
        shown = gated(values).last_hidden_state[:, 1:]
    one, exact = found.options
    assert (one.error, one.changed_error) == pytest.approx(feature_means(shown, dense), abs=1e-6)
    assert exact.error == pytest.approx(0, abs=1e-9)
    assert exact.work >= one.work >= one.kept_share


def test_a_gate_that_never_changes_holds_the_first_frame(clip):
    never = {"threshold": 255, "scene_cut": None, "search_radius": 0, "tolerance": math.inf}
    gated = patchgate.gated(tower("clip"), SPEC)
    one, other = patchgate.advise(clip, gated, settings=[never, {"every": 40}]).options
    assert one.tokens == other.tokens == 16
    assert one.error == pytest.approx(other.error) != 0
    assert one.changed_error == pytest.approx(other.changed_error)
    assert one.work == pytest.approx(other.work)


def test_the_usual_settings_of_a_tower_and_its_own(clip):
    model = tower("siglip")
    found = patchgate.advise(clip, model, processor=SPEC)
    assert dict(found.options[0].settings) == {"threshold": 4, "tolerance": 0.15}
    own = patchgate.advise(clip, patchgate.gated(model, SPEC, threshold=3, tolerance=0.4))
    assert dict(own.options[0].settings) == {"threshold": 3, "tolerance": 0.4}
    works = [
        option(found, threshold=4, tolerance=tolerance).work for tolerance in (0.2, 0.15, 0.1, 0.05)
    ]
    assert works == sorted(works)
    kept = patchgate.advise(clip, patchgate.gated(model, SPEC, context="kept"))
    assert not any("tolerance" in each.settings for each in kept.options)


@pytest.mark.parametrize("family", ["qwen25", "qwen3"])
def test_a_tower_of_tubelets_and_merged_cells(clip, family):
    import qwen_cases

    model = qwen_cases.tower(family)
    spec = patchgate.PixelSpec((24, 40), MEAN, STD, qwen_cases.P, 2, 2)
    gated = patchgate.gated(model, spec, tolerance=0.1)
    found = patchgate.advise(clip, gated, settings=[{}, {"threshold": 0, "tolerance": 0}])
    assert (found.frames, found.cells) == (20, (3, 5))
    assert found.options[0].tokens == len(patchgate.tokenize(clip, gated))
    assert found.options[1].error == pytest.approx(0, abs=1e-9)


def test_the_tower_is_left_as_it_was(clip):
    gated = patchgate.gated(tower("siglip"), SPEC, tolerance=0.3)
    before = gated.fidelity, gated.gate_settings, gated.last_work
    patchgate.advise(clip, gated)
    assert (gated.fidelity, gated.gate_settings, gated.last_work) == before


# ---- the advice


def made(settings, work, error, changed=None):
    changed = error if changed is None else changed
    return Option(settings, 10, work, 5.0, work, error, changed, 1.0, None)


def advice(*options, target=0.99, tower=None):
    return Advice(options, target, 40, 4.0, (8, 8), 1, tower)


HALF, THIRD = {"every": 2}, {"every": 3}
FOUR, EIGHT = {"threshold": 4}, {"threshold": 8, "tolerance": 0.2}


def test_the_cheapest_that_meets_the_target():
    found = advice(
        made(FOUR, 0.3, 0.002), made(EIGHT, 0.2, 0.004), made(HALF, 0.5, 0.003), tower="ViT"
    )
    assert dict(found.best.settings) == EIGHT
    assert found.recommendation == (
        "use threshold=8, tolerance=0.2: score 0.996 at 20.0% of the work; sampling alone needs "
        "every 2nd frame, 50.0% of the work"
    )


def test_both_errors_count():
    found = advice(made(FOUR, 0.3, 0.002, 0.009), made(EIGHT, 0.2, 0.004, 0.011))
    assert dict(found.best.settings) == FOUR
    assert dict(advice(made(FOUR, 0.3, 0.011, 0.001), made(HALF, 0.5, 0.0)).best.settings) == HALF


def test_sampling_that_is_enough_is_said_plainly():
    found = advice(made(FOUR, 0.4, 0.001), made(THIRD, 1 / 3, 0.005), made(HALF, 0.5, 0.002))
    assert found.recommendation.startswith(
        "sampling is enough here: take every 3rd frame and hold it, score 0.995 at 33.3% of the "
        "work; the cheapest gated setting, threshold=4, takes 40.0%"
    )
    alone = advice(made(FOUR, 0.4, 0.1), made(HALF, 0.5, 0.002))
    assert "no gated setting that was tried meets the target" in alone.recommendation


def test_sampling_that_is_not_enough_is_said():
    found = advice(made({**HALF, **FOUR}, 0.1, 0.001), made(HALF, 0.5, 0.03), made(THIRD, 0.3, 0.1))
    assert found.recommendation == (
        "use every 2nd frame, threshold=4: score 0.999 at 10.0% of the work; sampling alone does "
        "not reach 0.99: every 2nd frame has 0.970 at 50.0%; check it with your tower"
    )
    assert "was not tried" in advice(made(FOUR, 0.4, 0.001)).recommendation


def test_where_nothing_is_enough_every_frame_is_taken():
    found = advice(made(FOUR, 0.9, 0.02), made(HALF, 0.5, 0.2), made(EIGHT, 1.1, 0.001))
    assert found.best is None
    assert "take every frame whole, or lower the target" in found.recommendation
    assert "threshold=8, tolerance=0.2, has 0.999 at 110.0%" in found.recommendation


def test_the_table_has_a_row_for_every_option(busy):
    found = patchgate.advise(busy, size=112)
    said = found.lines()
    for each in found.options:
        row = said[found.name(each)]
        assert f"{each.work:.1%}" in row
        assert row.endswith("*") == (each.score >= found.target)
    assert "pixels" in said["measured"]
    assert said["advice"] == found.recommendation
    assert all(text in str(found) for text in said.values())


@pytest.mark.parametrize(("every", "name"), [(2, "2nd"), (3, "3rd"), (11, "11th"), (21, "21st")])
def test_ordinals(every, name):
    found = advice(made({"every": every}, 0.1, 0.0))
    assert found.name(found.options[0]) == f"every {name} frame"


# ---- bad input


def test_bad_input_is_refused_by_name(clip):
    model, advise = tower("siglip"), patchgate.advise
    gated = patchgate.gated(model, SPEC)
    cases = [
        (ValueError, r"target: expected 0\.\.1", lambda: advise(clip, target=2)),
        (ValueError, "target: expected more than 0", lambda: advise(clip, target=0)),
        (ValueError, "seconds: expected more than 0", lambda: advise(clip, seconds=0)),
        (ValueError, r"at least 12 frames .* got 5", lambda: advise(clip, seconds=0.2)),
        (FileNotFoundError, "no such file", lambda: advise("nowhere.mp4")),
        (TypeError, "names of .*every.* got 'tolerance'",
         lambda: advise(clip, settings=[{"tolerance": 0.1}])),
        (TypeError, "got 'patch'", lambda: advise(clip, gated, settings=[{"patch": 7}])),
        (TypeError, "expected dicts", lambda: advise(clip, settings=["threshold"])),
        (ValueError, "at least one", lambda: advise(clip, settings=[])),
        (ValueError, "every: expected at least 1", lambda: advise(clip, settings=[{"every": 0}])),
        (ValueError, "neither", lambda: advise(clip, model)),
        (ValueError, "got no tower", lambda: advise(clip, mean=MEAN)),
        (ValueError, "gated already", lambda: advise(clip, gated, processor=SPEC)),
        (TypeError, "got a stream", lambda: advise(clip, gated.stream())),
        (TypeError, "without capacity",
         lambda: advise(clip, patchgate.gated(model, SPEC, capacity=64))),
        (ValueError, "expected a gate or rules", lambda: advise(clip, gate=patchgate.Gate(),
                                                                threshold=3)),
        (TypeError, "advise: expected options of", lambda: advise(clip, colour="red")),
    ]  # fmt: skip
    for error, message, call in cases:
        with pytest.raises(error, match=message):
            call()


def test_features_that_are_not_numbers_are_told(clip):
    model = tower("clip")
    with torch.no_grad():
        model.encoder.layers[0].mlp.fc1.bias[0] = math.nan
    with pytest.raises(ValueError, match="expected finite features"):
        patchgate.advise(clip, model, processor=SPEC)
