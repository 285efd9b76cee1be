"""A gated tower that ends at one of its hidden states."""

import copy
import pickle

import pytest
import torch
from gated_cases import FAMILIES, MEAN, STD, N, flicker, noise, normalised, tower
from qwen_cases import tower as qwen_tower

import patchgate

EXACT = {"rtol": 0, "atol": 1e-10}  # float64: rounding only
both = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def gated(model, **settings):
    return patchgate.gated(model, mean=MEAN, std=STD, **settings)


@both
@pytest.mark.parametrize("layer", [1, 2, 3, -1, -2, -3])
def test_the_features_are_the_hidden_state(family, layer):
    model, x = tower(family), normalised(noise(4))
    dense, sparse = model(x, output_hidden_states=True), gated(model, feature_layer=layer)
    out = sparse(x)
    torch.testing.assert_close(out.last_hidden_state, dense.hidden_states[layer], **EXACT)
    assert out.pooler_output is None
    whole = gated(model)
    whole(x)
    assert (sparse.last_work.gated_flops < whole.last_work.gated_flops) or layer in (3, -1)


@both
@pytest.mark.parametrize("context", ["kept", "full"])
def test_it_shows_what_the_whole_gated_tower_does_there(family, context):
    model, x = tower(family), normalised(flicker(7))
    whole = gated(model, context=context)(x, output_hidden_states=True)
    cut = gated(model, context=context, feature_layer=2)
    torch.testing.assert_close(cut(x).last_hidden_state, whole.hidden_states[2], **EXACT)
    stream = cut.stream()
    parts = torch.cat([stream(part).last_hidden_state for part in x.split(3)])
    torch.testing.assert_close(parts, whole.hidden_states[2], **EXACT)


@both
def test_encode_gives_it_too(family):
    model, x = tower(family), normalised(noise(1))
    rows = x.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).permute(0, 2, 4, 1, 3, 5).reshape(N, -1)
    ends, source = torch.tensor([0, N]), torch.arange(N).view(1, 4, 4)
    features = gated(model, feature_layer=-2).encode(rows, torch.arange(N), ends, source)
    expected = model(x, output_hidden_states=True).hidden_states[-2][0, -N:]
    torch.testing.assert_close(features, expected, **EXACT)


@both
@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy])
def test_copies(family, copied):
    sparse, x = gated(tower(family), feature_layer=-2), normalised(flicker(3))
    torch.testing.assert_close(
        copied(sparse)(x).last_hidden_state, sparse(x).last_hidden_state, rtol=0, atol=0
    )


@both
def test_a_streams_state_fits_only_one_that_ends_there(family, tmp_path):
    model, x = tower(family), normalised(flicker(6))
    cut, whole = gated(model, feature_layer=2), gated(model)
    expected, first, second = cut(x).last_hidden_state, cut.stream(), cut.stream()
    first(x[:3])
    first.save(tmp_path / "state")
    second.restore(tmp_path / "state")
    torch.testing.assert_close(second(x[3:]).last_hidden_state, expected[3:], **EXACT)
    for other in (whole, gated(model, feature_layer=3)):
        with pytest.raises(ValueError, match="its layers is"):
            other.stream().restore(tmp_path / "state")
    assert type(cut._tower) is type(whole._tower), "a field, not a class of its own"


@both
def test_hidden_states_would_be_numbered_otherwise(family):
    sparse = gated(tower(family), feature_layer=-2)
    with pytest.raises(ValueError, match="gate it without feature_layer"):
        sparse(normalised(noise(1)), output_hidden_states=[-2])


@both
@pytest.mark.parametrize("layer", [0, 4, -5])
def test_layers_that_are_not_there_are_refused(family, layer):
    with pytest.raises(ValueError, match=f"after one of 3 layers, got {layer}"):
        gated(tower(family), feature_layer=layer)


def test_towers_that_merge_have_no_such_layer():
    with pytest.raises(ValueError, match="merges the outputs of its layers"):
        gated(qwen_tower("qwen3"), feature_layer=-1)
