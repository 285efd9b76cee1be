"""``calibrate``: the cheapest settings that keep the answers."""

import itertools
import math

import pytest
import torch
from gated_cases import (
    FAMILIES,
    MEAN,
    STD,
    N,
    P,
    flicker,
    noise,
    normalised,
    tower,
    transformers,
)

import patchgate
from patchgate.encoders.gated.calibrate import calibrated

CLIPS = [normalised(flicker(8, seed)) for seed in (1, 2)]
GRID = {"thresholds": (2, 6, 20), "sub_blocks": (1, 2), "tolerances": (math.inf, 0.3, 0.1, 0.03, 0)}


def gated(model, **settings):
    return patchgate.gated(model, mean=MEAN, std=STD, **settings)


def signs(output):
    """Whether the first features of each token are above zero."""
    return (output.last_hidden_state[..., :4] > 0).flatten()


def shimmer(t, seed, most=15):
    """Flicker under noise of up to ``most`` grey levels, another in each cell and frame."""
    random = torch.Generator().manual_seed(seed)
    frames = flicker(t, seed).short()
    level = torch.randint(0, most + 1, (t, 1, N, 1), generator=random)
    grain = torch.randint(-1, 2, (t, 3, N, P * P), generator=random) * level  # [T, 3, N, P * P]
    side = frames.shape[-1] // P
    grain = grain.view(t, 3, side, side, P, P).transpose(3, 4).reshape(frames.shape)
    return (frames + grain).clamp(0, 255).to(torch.uint8)


SHIMMER = [normalised(shimmer(6, seed)) for seed in (1, 2)]


def share_of(model, clip, **settings):
    """The share of signs that are those of the original model's own call, and the work."""
    sparse = gated(model, **settings)
    same = (signs(sparse(clip)) == signs(model(clip))).double().mean()
    return float(same), sparse.last_work.gated_flops / sparse.last_work.dense_flops


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("readout", [None, signs])
def test_the_largest_tolerance_of_one_gate(family, readout):
    sparse = gated(tower(family))
    found = patchgate.calibrate(sparse, CLIPS, readout, 0.97, thresholds=[4], sub_blocks=[2])
    assert sparse.fidelity.tolerance == found.tolerance == found.trials[-1].tolerance
    assert found.trials[-1].agreement >= 0.97
    assert all(trial.agreement < 0.97 for trial in found.trials[:-1])
    assert len(found.trials) > 1, "nothing was at stake"
    work = [trial.work for trial in found.trials]
    assert work == sorted(work)
    assert {(trial.threshold, trial.sub_blocks) for trial in found.trials} == {(4, 2)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("target", [0.9, 0.95, 0.97])
def test_the_cheapest_of_all_settings(family, target):
    """The search leaves most of them out, and finds what trying all of them finds."""
    model = tower(family)
    found = patchgate.calibrate(gated(model), SHIMMER, signs, target, **GRID)
    reached = {}
    names = ("threshold", "sub_blocks", "tolerance")
    for values in itertools.product(*GRID.values()):
        settings = dict(zip(names, values, strict=True))
        tried = [share_of(model, clip, **settings) for clip in SHIMMER]
        if min(share for share, _ in tried) >= target:
            reached[values] = sum(work for _, work in tried) / len(tried)
    best = found.best
    own = {name: getattr(found, name) for name in names}
    assert best.work == pytest.approx(min(reached.values()))
    assert best.work == pytest.approx(reached[tuple(own.values())])
    assert best.agreement == min(share_of(model, clip, **own)[0] for clip in SHIMMER) >= target
    assert len(found.trials) < 30 / 2


def test_each_of_the_three_settings_can_be_what_is_found():
    found = [
        patchgate.calibrate(gated(tower("siglip")), SHIMMER, signs, target, **GRID)
        for target in (0.5, 0.8, 0.9, 0.95, 0.97)
    ]
    assert len({each.threshold for each in found}) > 1
    assert len({each.tolerance for each in found}) > 1
    assert all(one.best.work <= other.best.work for one, other in itertools.pairwise(found))


def test_the_tower_and_later_ones_use_what_was_found(tmp_path):
    model = tower("siglip", torch.float32)
    clips = [clip.float() for clip in SHIMMER]
    sparse = gated(model, search_radius=3)
    found = patchgate.calibrate(sparse, clips, signs, 0.9, **GRID)
    own = (found.threshold, found.sub_blocks, found.tolerance)

    def settings(each):
        gate = each.gate_settings
        return gate.threshold, gate.sub_blocks, each.fidelity.tolerance

    assert settings(sparse) == settings(gated(model)) == own != (4, 2, 0.15)
    assert sparse.gate_settings.search_radius == 3
    assert settings(gated(model, tolerance=0.7)) == (*own[:2], 0.7)
    assert settings(gated(model, threshold=1, sub_blocks=4)) == (1, 4, own[2])
    kept = gated(model, context="kept")
    assert (kept.fidelity.context, kept.gate_settings.threshold) == ("kept", 4)
    model.save_pretrained(tmp_path)
    loaded = transformers.SiglipVisionModel.from_pretrained(tmp_path)
    assert settings(gated(loaded)) == own
    assert calibrated(tower("clip")) == {}


def test_a_tolerance_of_an_earlier_version_is_not_used():
    model = tower("siglip")
    model.config.patchgate = {"tolerance": "0.3", "target": 0.99}
    with pytest.warns(UserWarning, match=r"tolerance of 0\.3 .* means something else now"):
        assert gated(model).fidelity.tolerance == 0.15


def test_it_says_what_it_chose_from():
    found = patchgate.calibrate(gated(tower("siglip")), SHIMMER, signs, 0.9, **GRID)
    first, head, *rows = str(found).splitlines()
    assert first.startswith(str(found.best.rules))
    assert head.split() == ["threshold", "sub_blocks", "tolerance", "answers", "work"]
    assert len(rows) == len(found.trials)
    work = [float(row.split()[-1].rstrip("%")) for row in rows]
    assert work == sorted(work)
    [chosen] = [row for row in rows if row.startswith("*")]
    assert chosen.split()[1:4] == [f"{x:g}" for x in found.best.rules]


@pytest.mark.parametrize("family", FAMILIES)
def test_with_threshold_0_any_target_can_be_reached(family):
    clips = [normalised(shimmer(6, seed, most=1)) for seed in (1, 2)]
    found = patchgate.calibrate(
        gated(tower(family)), clips, lambda output: output.last_hidden_state.flatten(), target=1
    )
    assert found.best.agreement == 1
    assert found.threshold == 0
    assert all(each.agreement < 1 for each in found.trials if each.threshold)


def test_a_clip_of_new_frames_needs_no_tolerance():
    found = patchgate.calibrate(gated(tower("clip")), [normalised(noise(3))], target=1)
    assert found.tolerance == math.inf


def test_the_right_answers_are_the_dense_towers_whatever_the_gate():
    """Frames that this gate cannot tell apart are told apart by the dense tower."""
    frames = flicker(1).expand(4, -1, -1, -1).clone()
    frames[2:] = (frames[2:].short() + 9).clamp(0, 255).to(torch.uint8)
    sparse = gated(tower("clip"), threshold=20, search_radius=0)
    numbers = []

    def means(output):
        numbers.append(output.last_hidden_state[:, 1:].mean((1, 2)))
        return [f"{mean:.9f}" for mean in numbers[-1].tolist()]

    with pytest.raises(ValueError, match=r"threshold=20, .* keep 50\.00%: add smaller thresholds"):
        patchgate.calibrate(sparse, [normalised(frames)], means, thresholds=[20])
    assert numbers[0][0] != numbers[0][2], "of the dense tower"
    assert sparse.gate_settings.threshold == 20


def test_bad_input_changes_nothing():
    model = tower("clip")
    sparse = gated(model)
    sparse(CLIPS[0])
    before = sparse.fidelity, sparse.gate_settings, sparse.last_work
    nan = float("nan")
    cases = [
        (TypeError, "one made by gated", (model, CLIPS)),
        (ValueError, "only context", (gated(model, context="kept"), CLIPS)),
        (ValueError, "at least one", (sparse, [])),
        (ValueError, "a share above 0", (sparse, CLIPS, None, 0)),
        (TypeError, "tensor of answers", (sparse, CLIPS, lambda output: 3)),
        (ValueError, "NaN in number 1 of 2", (sparse, CLIPS, lambda output: [1.0, nan])),
        (ValueError, "NaN in number 0 of 1", (sparse, CLIPS, lambda output: [("a", [nan])])),
        (ValueError, "NaN in number 2", (sparse, CLIPS, lambda o: torch.tensor([1, 2, nan]))),
        (TypeError, "got a stream", (sparse.stream(), CLIPS)),
        (ValueError, "tolerances: expected", (sparse, CLIPS, None, 0.9, [-1])),
        (ValueError, r"threshold: expected 0\.\.255", (sparse, CLIPS, None, 0.9, [0], [-1])),
        (ValueError, "thresholds: expected at least one", (sparse, CLIPS, None, 0.9, [0], [])),
        (ValueError, "3 does not divide", (sparse, CLIPS, None, 0.9, [0], None, [3])),
        (ValueError, "as RGB", (sparse, [CLIPS[0] * 100])),
    ]
    for error, message, arguments in cases:
        with pytest.raises(error, match=message):
            patchgate.calibrate(*arguments)
    lengths = iter([[1, 2], [1, 2], [1]])
    with pytest.raises(ValueError, match=r"2 from the dense tower's features and 1 from those of"):
        patchgate.calibrate(sparse, CLIPS[:1], lambda output: next(lengths))
    assert (sparse.fidelity, sparse.gate_settings, sparse.last_work) == before
    assert not hasattr(model.config, "patchgate")


def test_a_readout_that_does_not_repeat_itself_is_told():
    count = iter(range(1000))
    with pytest.raises(ValueError, match=r"same answers for the same features"):
        patchgate.calibrate(gated(tower("clip")), CLIPS[:1], lambda output: [next(count)])


def test_features_that_are_not_numbers_are_told():
    model = tower("clip")
    with torch.no_grad():
        model.encoder.layers[0].mlp.fc1.bias[0] = math.nan
    with pytest.raises(ValueError, match="expected finite features, got NaN"):
        patchgate.calibrate(gated(model), CLIPS[:1])


def test_arrays_within_answers_are_compared_by_their_numbers():
    def pairs(output):
        return [(str(i), row.numpy() > 0) for i, row in enumerate(output.last_hidden_state[:, 0])]

    found = patchgate.calibrate(gated(tower("siglip")), CLIPS, pairs, 1)
    assert found.best.agreement == 1


def test_the_right_answers_are_those_of_all_layers():
    sparse = gated(tower("clip"), tolerance_layers=0)
    with pytest.raises(ValueError, match="more than tolerance_layers=0"):
        patchgate.calibrate(sparse, CLIPS, signs, target=1)


def test_answers_of_frames_that_are_passed_over_count_as_those_of_others():
    """The right ones are the dense tower's, which passes none over."""
    model, passing = tower("siglip"), {"pass_over": (0.9, 3)}
    found = patchgate.calibrate(gated(model, **passing), CLIPS, signs, 0.01, **GRID)
    best = found.best
    given = {"threshold": best.threshold, "sub_blocks": best.sub_blocks, **passing}
    shares = [share_of(model, clip, tolerance=best.tolerance, **given)[0] for clip in CLIPS]
    assert best.agreement == pytest.approx(min(shares))
    assert best.agreement < 1
