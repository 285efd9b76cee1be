"""ViT, InternVL, Idefics3 and SmolVLM: what is their own; with timm's Eva, what they refuse.

Letters: T frames, S positions along a side, D features.
"""

from itertools import pairwise

import pytest
import torch
from family_models import (
    EVA02,
    idefics3,
    internvl,
    smolvlm,
    timm_eva,
    vit,
)
from gated_families import Case, gated, output_of
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from patchgate.encoders.families import tower_of

EXACT = {"rtol": 0, "atol": 1e-10}


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


# InternVL and ViT.


def test_internvl_returns_its_own_output():
    case = Case(internvl())
    x = case.inputs(case.noise(2))
    assert type(gated(case.model)(**x)) is type(case.model(**x))


def test_reach_follows_a_factor_that_is_no_module():
    model = internvl()
    tower = tower_of(model)
    before = [reach.clone() for reach in tower.reaches(3, 8)]
    model.encoder.layer[1].lambda_1.mul_(2)
    after = tower.reaches(3, 8)
    torch.testing.assert_close(after[1], 2 * before[1])
    torch.testing.assert_close(after[2], before[2])


def test_the_pooler_of_vit_counts_and_may_be_left_out():
    for pools in (True, False):
        case = Case(vit(pools))
        x, sparse = case.inputs(case.noise(2)), gated(case.model, context="kept")
        assert ("pooler_output" in sparse(**x)) == pools
        with FlopCounterMode(display=False) as counter:
            case.model.pooler(torch.ones(2, 1, 24).double()) if pools else None
        without = gated(vit(False), context="kept")
        without(**x)
        more = sparse.last_work.dense_flops - without.last_work.dense_flops
        assert more == counter.get_total_flops()


@pytest.mark.parametrize("make", [vit, internvl, idefics3, timm_eva])
@pytest.mark.parametrize("wrong", [{"patch_size": (8, 4)}, {"num_channels": 1}])
def test_sizes_of_a_tower(make, wrong):
    if make is timm_eva:
        wrong = {{"num_channels": "in_chans"}.get(key, key): v for key, v in wrong.items()}
    elif make is idefics3 and "patch_size" in wrong:
        pytest.skip("its configuration has one number")
    with pytest.raises(ValueError, match=r"one number, got|3 channels and 8 pixels a side"):
        gated(make(**wrong))


@pytest.mark.parametrize("make", [vit, internvl, idefics3])
def test_of_other_sizes_they_take_what_the_dense_model_takes(make):
    model = make()
    for height, width in ((32, 48), (44, 40)):
        case = Case(model, (height, width))
        x = case.inputs(case.noise(1))
        if make is vit:
            with pytest.raises(ValueError, match=r"expected \[T, 3, 32, 32\]"):
                gated(model)(**x)
        else:
            torch.testing.assert_close(output_of(gated(model)(**x)), case.dense(x), **EXACT)
    if make is not vit:
        with pytest.raises(ValueError, match="7 x 32 hold no whole patch of 8 pixels"):
            gated(model)(torch.zeros(1, 3, 7, 32).double())


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (vit, "layers.1.layernorm_after"),
        (vit, "embeddings.position_embeddings"),
        (internvl, "encoder.layer.0.lambda_1"),
        (internvl, "encoder.layer.2.attention.k_norm"),
        (idefics3, "post_layernorm"),
        (timm_eva, "blocks.1.attn.proj"),
    ],
)
def test_a_part_that_is_missing(make, path):
    model = make()
    owner, _, name = path.rpartition(".")
    delattr(model.get_submodule(owner), name)
    with pytest.raises(TypeError, match=f"without {path} is not what gated.. knows"):
        gated(model)


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (vit, "layers.1"),
        (vit, "layers.0.attention"),
        (internvl, "embeddings"),
        (internvl, "encoder.layer.0.attention"),
        (timm_eva, "blocks.0"),
        (timm_eva, "blocks.0.attn"),
    ],
)
def test_a_part_that_would_be_passed_over(make, path):
    model = make()
    model.get_submodule(path).add_module("extra", nn.Linear(2, 2).double())
    with pytest.raises(TypeError, match=f"with {path}.extra is not what gated.. knows"):
        gated(model)


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (vit, {"attention_probs_dropout_prob": 0.1}, "attention dropout 0.1"),
        (vit, {"hidden_dropout_prob": 0.2}, "dropout 0.2"),
        (internvl, {"projection_dropout": 0.1}, "projection dropout 0.1"),
        (internvl, {"attention_dropout": 0.3}, "attention dropout 0.3"),
        (idefics3, {"attention_dropout": 0.1}, "attention dropout 0.1"),
        (timm_eva, {"attn_drop_rate": 0.1}, r"Dropout \(blocks.0.attn.attn_drop\) of 0.1"),
        (timm_eva, {"patch_drop_rate": 0.5}, r"PatchDropoutWithIndices \(patch_drop\) of 0.5"),
        (timm_eva, {"drop_path_rate": 0.4}, r"DropPath \(blocks.1.drop_path1\) of 0.2"),
    ],
)
def test_training_with_what_packing_leaves_out(make, changes, message):
    case = Case(make(**changes))
    x, sparse = case.inputs(case.still(2)), gated(case.model)
    sparse(**x)
    sparse.train()
    with pytest.raises(ValueError, match=f"in training mode with {message}"):
        sparse(**x)


# Idefics3 and SmolVLM.


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (40, 88), (104, 72), (240, 256)])
def test_positions_of_idefics3_are_the_models_own_of_any_grid(size):
    """Fractions of a side may lie on an edge between two positions: rounding decides."""
    for side in (3, 7, 27):
        model = idefics3(image_size=side * 8)
        case = Case(model, size)
        x = case.inputs(case.noise(1))
        mask = torch.ones(1, *case.shape, dtype=torch.bool)
        theirs = model.embeddings(x["pixel_values"], mask)[0]  # [N, D]
        tower = tower_of(model).sized(*size)
        index = torch.arange(case.cells)
        rows = tower.rows(x["pixel_values"], index)
        torch.testing.assert_close(tower.embed(rows, index), theirs, **EXACT)


def test_a_mask_of_ones_is_taken_and_padding_refused():
    case = Case(smolvlm())
    x = case.inputs(case.noise(2))
    mask = torch.ones(2, 4, 4, dtype=torch.bool)
    sparse = gated(case.model)
    torch.testing.assert_close(
        sparse(**x, patch_attention_mask=mask).last_hidden_state,
        case.model(**x, patch_attention_mask=mask).last_hidden_state,
        **EXACT,
    )
    for wrong, came in ((mask[:1], r"\[1, 4, 4\]"), ([1], "list")):
        with pytest.raises(ValueError, match=rf"mask: expected \[2, 4, 4\], got {came}"):
            sparse(**x, patch_attention_mask=wrong)
    mask[1, 3:] = False
    with pytest.raises(ValueError, match=r"patch_attention_mask: expected ones only.*each video"):
        sparse(**x, patch_attention_mask=mask)


# Streams of pictures that keep their size, saved and gone on with, are in test_stream_saved.


@pytest.mark.parametrize("make", [internvl, smolvlm, lambda: timm_eva(**EVA02)])
@pytest.mark.parametrize(
    "settings", [{"tolerance": 0.1}, {"moved": "lend"}, {"refresh": 3}], ids=str
)
def test_a_stream_is_the_whole_clip(make, settings):
    case = Case(make())
    x = case.inputs(case.camera(8))["pixel_values"]
    whole = gated(case.model, **settings)
    stream = whole.stream()
    parts = [output_of(stream(x[a:b])) for a, b in pairwise([0, 1, 4, 8])]
    for name, expected in output_of(whole(x)).items():
        torch.testing.assert_close(torch.cat([part[name] for part in parts]), expected, **EXACT)
