"""A gated tower in a larger model: same parameters, same names, nothing global, undoable."""

import copy
import subprocess
import sys

import pytest
import torch
from gated_cases import (
    FAMILIES,
    MEAN,
    SIDE,
    STD,
    N,
    flicker,
    noise,
    normalised,
    tower,
    transformers,
)
from since import since
from torch import nn

import patchgate

both = pytest.mark.parametrize("family", FAMILIES)


class Parent(nn.Module):
    def __init__(self, vision_tower: nn.Module) -> None:
        super().__init__()
        self.vision_tower = vision_tower
        self.projector = nn.Linear(24, 5, dtype=torch.float64)

    def forward(self, pixel_values):
        return self.projector(self.vision_tower(pixel_values).last_hidden_state)


def gated(model, **settings):
    return patchgate.gated(model, mean=MEAN, std=STD, **{"context": "kept", **settings})


@both
def test_state_dict_of_a_parent_is_unchanged(family):
    parent = Parent(tower(family))
    names, before = list(parent.state_dict()), copy.deepcopy(parent.state_dict())
    modules = [name for name, _ in parent.named_modules()]
    parent.vision_tower = gated(parent.vision_tower)
    assert list(parent.state_dict()) == names
    assert [name for name, _ in parent.named_modules()] == modules
    assert all(torch.equal(before[name], value) for name, value in parent.state_dict().items())
    doubled = {name: 2 * value for name, value in before.items()}
    parent.load_state_dict(doubled)
    original = parent.vision_tower.tower
    assert torch.equal(
        original.embeddings.patch_embedding.weight,
        doubled["vision_tower.embeddings.patch_embedding.weight"],
    )


@both
def test_undone_it_is_the_tower_that_was_given(family):
    model, x = tower(family), normalised(flicker(3))
    with torch.no_grad():
        before = model(x).last_hidden_state
        sparse = gated(model)
        sparse(x)
        assert sparse.tower is model
        assert torch.equal(model(x).last_hidden_state, before)
        assert type(model).__name__ in repr(sparse)


@both
def test_moved_cast_and_switched_it_takes_the_tower_along(family):
    model = tower(family)
    sparse = gated(model)
    assert sparse.config is model.config
    assert (sparse.dtype, sparse.device) == (torch.float64, torch.device("cpu"))
    Parent(sparse).float()
    assert (model.dtype, sparse.dtype) == (torch.float32, torch.float32)
    sparse.train()
    assert model.training
    assert model.encoder.layers[0].training
    assert not sparse.eval().tower.training
    with pytest.raises(AttributeError, match="no_such_thing"):
        sparse.no_such_thing  # noqa: B018


@both
def test_a_copy_has_its_own_weights(family):
    sparse = gated(tower(family))
    other = copy.deepcopy(sparse)
    other.tower.embeddings.position_embedding.weight.data.zero_()
    assert other.state_dict()["embeddings.position_embedding.weight"].abs().sum() == 0
    assert sparse.state_dict()["embeddings.position_embedding.weight"].abs().sum() > 0
    x = normalised(noise(1))
    with torch.no_grad():
        ours, theirs = other(x).last_hidden_state, other.tower(x).last_hidden_state
    torch.testing.assert_close(ours, theirs)


@both
def test_options_of_the_call_are_those_of_the_tower(family):
    model, x = tower(family), normalised(noise(2))
    with torch.no_grad():
        dense, sparse = (call(x, return_dict=False) for call in (model, gated(model)))
        assert len(dense) == len(sparse)
        assert all(torch.allclose(a, b) for a, b in zip(dense, sparse, strict=True))
        dense, sparse = (call(x, output_hidden_states=-2) for call in (model, gated(model)))
        assert [s is None for s in sparse.hidden_states] == [True, True, False, True]
        if since("5.18"):  # before, a number was taken for all of them
            assert [s is None for s in dense.hidden_states] == [True, True, False, True]
        torch.testing.assert_close(sparse.hidden_states[-2], dense.hidden_states[-2])


def test_llava_runs_on_a_gated_tower():
    text = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, vocab_size=32,
    )  # fmt: skip
    vision = tower("clip", torch.float32)
    config = transformers.LlavaConfig(
        vision_config=vision.config, text_config=text, image_token_index=31
    )
    model = transformers.LlavaModel(config).eval()
    x = normalised(noise(2), torch.float32)
    with torch.no_grad():
        dense = torch.cat(list(model.get_image_features(x).pooler_output))
        names = list(model.state_dict())
        model.vision_tower = gated(model.vision_tower, threshold=0)
        assert list(model.state_dict()) == names
        sparse = torch.cat(list(model.get_image_features(x).pooler_output))
        torch.testing.assert_close(sparse, dense, rtol=1e-4, atol=1e-5)
        ids = torch.tensor([[1, *[31] * (2 * N), 2]])
        assert model(input_ids=ids, pixel_values=x).last_hidden_state.shape == (1, 2 * N + 2, 16)


def test_processors_give_mean_and_std():
    siglip = pytest.importorskip("transformers.models.siglip.image_processing_pil_siglip")
    clip = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    size = {"height": SIDE, "width": SIDE}
    processor = siglip.SiglipImageProcessorPil(size=size)
    sparse = patchgate.gated(tower("siglip"), processor)
    assert sparse.pixel_spec.mean == (0.5, 0.5, 0.5)
    assert (sparse.gate_settings.patch, sparse.gate_settings.merge) == (8, 1)
    assert sparse.gate_settings.size == (SIDE, SIDE)
    frames = flicker(5)
    pixels = processor(images=list(frames), return_tensors="pt").pixel_values
    sparse.float()(pixels)
    kind = patchgate.Gate(patch=8).push(patchgate.colour.rgb_to_ycbcr(frames)).kind
    assert sparse.last_work.kept == int((kind == 2).sum())

    cropped = clip.CLIPImageProcessorPil(size={"shortest_edge": 40}, crop_size=size)
    sparse = patchgate.gated(tower("clip"), cropped)
    assert sparse.pixel_spec.crop == (SIDE, SIDE)
    with pytest.raises(ValueError, match=r"224 x 224, the tower takes 32 x 32"):
        patchgate.gated(tower("clip"), clip.CLIPImageProcessorPil())
    with pytest.raises(ValueError, match="rescales by 1/255"):
        patchgate.gated(
            tower("siglip"), siglip.SiglipImageProcessorPil(size=size, do_rescale=False)
        )


def test_import_needs_no_transformers():
    code = "import sys, patchgate; assert 'transformers' not in sys.modules; patchgate.gated"
    subprocess.run([sys.executable, "-c", code], check=True)
