"""A pooling head with something around its parts, in whole clips and in streams."""

import adapter_cases as cases
import pytest
import torch
from adapter_cases import EXACT, TOWERS, gated, inputs, output
from gated_cases import flicker, normalised, tower
from torch.nn.utils import parametrizations

from patchgate.encoders.run.fidelity import DEFAULT_TOLERANCE

PARTS = ["head", "head.attention", "head.layernorm", "head.mlp", "head.mlp.fc1"]


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("path", PARTS)
def test_of_a_stream_it_is_that_of_the_dense_tower(path):
    model, frames = tower("siglip"), normalised(flicker(9))
    cases.wrap(model, path)
    settings = {"search_radius": 0, "scene_cut": None}
    sparse = gated(model, **settings, mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))
    dense = output(model, {"pixel_values": frames})
    stream = sparse.stream()
    parts = [output(stream, {"pixel_values": part}) for part in frames.split([1, 3, 1, 4])]
    joined = [torch.cat(each) for each in zip(*parts, strict=True)]
    for ours in (joined, output(sparse, {"pixel_values": frames})):
        for one, other in zip(ours, dense, strict=True):
            torch.testing.assert_close(one, other, **EXACT)
    assert sparse.last_work.kept_share < 0.5


@pytest.mark.parametrize("first", [True, False])
def test_a_head_that_is_wrapped_in_the_middle_of_a_stream(first):
    """From then on, and until it is undone, its output is the wrapped head's."""
    model, frames = tower("siglip"), normalised(flicker(6))
    pixels = {"mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28)}
    stream = gated(model, search_radius=0, scene_cut=None, **pixels).stream()
    undo = cases.wrap(model, "head") if first else None
    for i, part in enumerate(frames.split([2, 1, 1, 1, 1])):
        if i in (1, 3):
            undo = undo() if undo else cases.wrap(model, "head")
        ours = output(stream, {"pixel_values": part})
        dense = output(model, {"pixel_values": part})
        torch.testing.assert_close(ours[0], dense[0], **EXACT)
        if stream.last_work.encoded_frames == len(part):
            torch.testing.assert_close(ours[1], dense[1], **EXACT)


def test_a_wrapped_head_costs_what_the_dense_one_does():
    model, x = tower("siglip"), inputs("siglip")
    sparse = gated(model, context="kept", tolerance=DEFAULT_TOLERANCE)
    output(sparse, x)
    plain = sparse.last_work
    assert plain.gated_flops < plain.dense_flops
    cases.wrap(model, "head.attention")
    output(sparse, x)
    assert sparse.last_work.gated_flops == sparse.last_work.dense_flops == plain.dense_flops


@pytest.mark.parametrize("name", ["siglip", "siglip2"])
@pytest.mark.parametrize("part", ["head.attention.out_proj", "encoder.layers.0.self_attn.q_proj"])
def test_weight_norm_by_hooks_and_by_parametrization(name, part):
    """Weights that are made anew in every call, by a hook of old and by a property."""
    x = inputs(name)
    for normed in (torch.nn.utils.weight_norm, parametrizations.weight_norm):
        model = TOWERS[name]()
        with pytest.warns(FutureWarning) if normed is torch.nn.utils.weight_norm else _nothing():
            normed(model.get_submodule(part))
        module = model.get_submodule(part)
        for parameter in module.parameters():
            parameter.data *= 1.2
        assert not cases.differ(output(gated(model), x), output(model, x))


def _nothing():
    import contextlib

    return contextlib.nullcontext()
