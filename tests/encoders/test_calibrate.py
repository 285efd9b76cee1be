"""``calibrate``: the largest tolerance that keeps the answers."""

import copy
import math

import pytest
import torch
from gated_cases import FAMILIES, MEAN, STD, flicker, noise, normalised, tower, transformers

import patchgate
from patchgate.encoders.gated.calibrate import calibrated

CLIPS = [normalised(flicker(8, seed)) for seed in (1, 2)]


def gated(model, **settings):
    return patchgate.gated(model, mean=MEAN, std=STD, **settings)


def signs(output):
    """Whether the first features of each token are above zero."""
    return (output.last_hidden_state[..., :4] > 0).flatten()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("readout", [None, signs])
def test_the_largest_that_reaches_the_target(family, readout):
    sparse = gated(tower(family))
    found = patchgate.calibrate(sparse, CLIPS, readout, target=0.97)
    assert sparse.fidelity.tolerance == found.tolerance == found.trials[-1].tolerance
    assert found.trials[-1].agreement >= 0.97
    assert all(trial.agreement < 0.97 for trial in found.trials[:-1])
    assert len(found.trials) > 1, "nothing was at stake"
    work = [trial.work for trial in found.trials]
    assert work == sorted(work)
    assert f"{found.tolerance:g}" in str(found)


def test_a_target_of_1_can_always_be_reached():
    found = patchgate.calibrate(gated(tower("siglip")), CLIPS, target=1)
    assert found.trials[-1].agreement == 1


def test_a_clip_of_new_frames_needs_no_tolerance():
    found = patchgate.calibrate(gated(tower("clip")), [normalised(noise(3))], target=1)
    assert found.tolerance == math.inf


def test_it_is_stored_with_the_config(tmp_path):
    model = tower("siglip", torch.float32)
    clips = [clip.float() for clip in CLIPS]
    found = patchgate.calibrate(gated(model), clips, target=0.97)
    assert gated(model).fidelity.tolerance == found.tolerance != 0.05
    assert gated(model, tolerance=0.3).fidelity.tolerance == 0.3
    assert gated(model, context="kept").fidelity.context == "kept"
    model.save_pretrained(tmp_path)
    loaded = transformers.SiglipVisionModel.from_pretrained(tmp_path)
    assert gated(loaded).fidelity.tolerance == found.tolerance
    assert calibrated(tower("clip")) == {}


def test_bad_input_changes_nothing():
    model = tower("clip")
    sparse = gated(model)
    before = copy.copy(sparse.fidelity)
    cases = [
        (TypeError, "one made by gated", (model, CLIPS)),
        (ValueError, "only context", (gated(model, context="kept"), CLIPS)),
        (ValueError, "at least one", (sparse, [])),
        (ValueError, "a share above 0", (sparse, CLIPS, None, 0)),
        (TypeError, "tensor of answers", (sparse, CLIPS, lambda output: 3)),
        (TypeError, "got a stream", (sparse.stream(), CLIPS)),
        (ValueError, "tolerances: expected", (sparse, CLIPS, None, 0.9, [-1])),
        (ValueError, "as RGB", (sparse, [CLIPS[0] * 100])),
    ]
    for error, message, arguments in cases:
        with pytest.raises(error, match=message):
            patchgate.calibrate(*arguments)
    lengths = iter([[1, 2], [1]])
    with pytest.raises(ValueError, match="2 answers with tolerance 0, 1 with another"):
        patchgate.calibrate(sparse, CLIPS[:1], lambda output: next(lengths))
    assert sparse.fidelity == before
    assert not hasattr(model.config, "patchgate")


def test_a_readout_that_does_not_repeat_itself_is_told():
    count = iter(range(1000))
    with pytest.raises(ValueError, match=r"even tolerance 0 .* not deterministic"):
        patchgate.calibrate(gated(tower("clip")), CLIPS[:1], lambda output: [next(count)])


def test_the_exact_answers_are_those_of_all_layers():
    sparse = gated(tower("clip"), tolerance_layers=0)
    with pytest.raises(ValueError, match="tolerance_layers is too small"):
        patchgate.calibrate(sparse, CLIPS, signs, target=1)
