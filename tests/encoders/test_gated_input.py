"""What a gated tower refuses, and how it says so."""

import pytest
import torch
from gated_cases import FAMILIES, MEAN, STD, flicker, normalised, tower, transformers
from torch import nn

import patchgate

both = pytest.mark.parametrize("family", FAMILIES)
X = normalised(flicker(3))


def gated(model, **settings):
    return patchgate.gated(model, **{"mean": MEAN, "std": STD, **settings})


@both
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"mean": None, "std": None},
            ValueError,
            "expected a processor or mean= and std=, got nei",
        ),
        ({"std": None}, ValueError, "both mean= and std=, got one"),
        ({"mean": (0.5, 0.5)}, ValueError, "mean: expected three channels"),
        ({"mean": "half"}, ValueError, "mean: expected three channels"),
        ({"std": (0.5, 0.5, 0.0)}, ValueError, "std: expected more than 0"),
        ({"std": float("nan")}, ValueError, "std"),
        ({"processor": object()}, ValueError, "got both"),
        (
            {"processor": object(), "mean": None, "std": None},
            ValueError,
            "processor: object is none",
        ),
        ({"context": "frame"}, ValueError, "'full', 'kept', got 'frame'"),
        ({"tolerance": -0.1}, ValueError, "tolerance: expected"),
        ({"tolerance": float("nan")}, ValueError, "tolerance: expected"),
        ({"tolerance_layers": -1}, ValueError, "tolerance_layers: expected"),
        ({"refresh": 0}, ValueError, "refresh: expected"),
        ({"moved": 1}, ValueError, "moved: expected"),
        ({"context": "kept", "tolerance": 0.1}, ValueError, 'tolerance: context="kept" has no use'),
        (
            {"treshold": 4},
            TypeError,
            "gated: expected settings of threshold, .*tolerance.*, got 'treshold'",
        ),
        ({"threshold": -1}, ValueError, "threshold"),
        ({"patch": 16}, ValueError, "patch: the tower has patch=8, got 16"),
        ({"merge": 2}, ValueError, "merge: the tower has merge=1, got 2"),
        ({"temporal_patch": 2}, ValueError, "temporal_patch: the tower has"),
        ({"size": 64}, ValueError, "size: the tower has size=.32, 32., got 64"),
        ({"sub_blocks": 3}, ValueError, "sub_blocks: 3 does not divide patch=8"),
    ],
)
def test_arguments(family, changes, error, message):
    with pytest.raises(error, match=message):
        gated(tower(family), **changes)


def test_what_the_tower_says_may_be_repeated():
    assert gated(tower("clip"), patch=8, size=32, merge=1).gate_settings.size == (32, 32)


@both
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X.numpy(), TypeError, "expected a Tensor, got ndarray"),
        ((X * 10).to(torch.uint8), TypeError, "normalised floats.*uint8"),
        (X[0], ValueError, r"expected \[T, 3, 32, 32\], got \[3, 32, 32\]"),
        (X[None], ValueError, r"expected \[T, 3, 32, 32\]"),
        (X[:, :2], ValueError, r"expected \[T, 3, 32, 32\], got \[3, 2, 32, 32\]"),
        (X[..., :24], ValueError, r"got \[3, 3, 32, 24\]"),
        (X[:0], ValueError, "at least one frame"),
        (X.to("meta"), ValueError, "the tower is on cpu, got a tensor on meta"),
        (X.clone().index_fill(0, torch.tensor(1), torch.nan), ValueError, "frame 1 is nan"),
        (X.clone().index_fill(0, torch.tensor(2), torch.inf), ValueError, "frame 2 is inf"),
        (X * 255, ValueError, r"frame 0 is .* as RGB, expected 0..1.*mean=\(0.48"),
        (flicker(3).double(), ValueError, "as RGB, expected 0..1"),
    ],
)
def test_pixel_values(family, x, error, message):
    with pytest.raises(error, match=message):
        gated(tower(family))(x)


def test_pixel_values_of_another_normalisation():
    black_and_white = torch.tensor([0, 255]).repeat(16)[None, None, None].expand(1, 3, 32, 32)
    with pytest.raises(ValueError, match=r"mean=\(0.5, 0.5, 0.5"):
        gated(tower("siglip"), mean=0.5, std=0.5)(normalised(black_and_white))


def test_overshoot_of_a_float_resize_is_let_through():
    white = normalised(torch.full((1, 3, 32, 32), 255))
    assert gated(tower("siglip"))(white * 1.1).last_hidden_state.isfinite().all()


@both
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"clip_lengths": [1, 1]}, ValueError, r"add up to the 3 frames .* \[1, 1\] \(sum 2\)"),
        ({"clip_lengths": [0, 3]}, ValueError, "at least 1"),
        ({"clip_lengths": []}, ValueError, "add up to the 3 frames"),
        ({"clip_lengths": [1.5, 1.5]}, TypeError, "clip_lengths: expected integers"),
        ({"output_hidden_states": [99]}, ValueError, "numbers of the 4 hidden states, got 99"),
        ({"output_hidden_states": -5}, ValueError, "numbers of the 4 hidden states, got -5"),
        ({"interpolate_pos_encoding": True}, ValueError, "interpolate_pos_encoding"),
        ({"output_attentions": True}, ValueError, "output_attentions"),
        ({"attention_mask": torch.ones(3)}, TypeError, "does not take attention_mask"),
    ],
)
def test_options(family, options, error, message):
    with pytest.raises(error, match=message):
        gated(tower(family))(X, **options)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers is renaming the switch
@both
def test_training_with_what_packing_leaves_out(family):
    model = tower(family, attention_dropout=0.1)
    sparse = gated(model)
    sparse(X)
    sparse.train()
    with pytest.raises(ValueError, match=r"attention dropout 0.1.*eval\(\)"):
        sparse(X)
    model = tower(family)
    model.gradient_checkpointing_enable()
    sparse = gated(model)
    sparse(X)
    model.train()
    with pytest.raises(ValueError, match="gradient checkpointing"):
        sparse(X)
    model.gradient_checkpointing_disable()
    assert sparse(X).last_hidden_state.requires_grad


def test_towers_that_are_not_known():
    with pytest.raises(
        TypeError, match=r"Linear is not supported.*SiglipVisionModel.*how to add one"
    ):
        gated(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="expected a torch module, got str"):
        gated("siglip")
    with pytest.raises(ValueError, match="gated already"):
        gated(gated(tower("clip")))
    config = tower("clip").config
    with pytest.raises(TypeError, match=r"WithProjection has its vision.*model\.vision_model, "):
        gated(transformers.CLIPVisionModelWithProjection(config))


def test_towers_that_are_not_built_as_expected():
    model = tower("clip")
    del model.encoder.layers[1].self_attn.q_proj
    with pytest.raises(TypeError, match=r"without encoder.layers.1.self_attn.q_proj .* needs"):
        gated(model)
    model = tower("siglip")
    del model.head.probe
    with pytest.raises(TypeError, match=r"without head.probe"):
        gated(model)
    model = tower("siglip")
    model.embeddings.patch_embedding.stride = (4, 4)
    with pytest.raises(ValueError, match="neither overlap nor are padded"):
        gated(model)


@both
def test_towers_that_do_not_fit(family):
    with pytest.raises(ValueError, match="image_size=7 holds no whole patch of 8 pixels"):
        gated(tower(family, image_size=7))
    with pytest.raises(ValueError, match="3 channels and 8 pixels"):
        gated(tower(family, num_channels=1))
    mixed = tower(family)
    mixed.encoder.layers[0].mlp.half()
    with pytest.raises(ValueError, match=r"one dtype on one device, got torch.float16.*float64"):
        gated(mixed)


def test_a_tower_without_a_pooling_head():
    model = tower("siglip", vision_use_head=False)
    with torch.no_grad():
        assert gated(model)(X).pooler_output is None
        stream = gated(model).stream()
        assert [stream(X[:1]).pooler_output for _ in range(2)] == [None, None]


ROWS, CELL, ENDS = torch.zeros(3, 192), torch.tensor([0, 5, 15]), torch.tensor([0, 2, 2, 3])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((ROWS.int(), CELL, ENDS), TypeError, "rows: expected floats, got torch.int32"),
        ((ROWS, CELL.float(), ENDS), TypeError, "cell: expected integers"),
        ((ROWS, CELL, [0, 3]), TypeError, "cu_seqlens: expected a Tensor, got list"),
        ((ROWS[:, 1:], CELL, ENDS), ValueError, r"rows: expected \[K, 192\], got \[3, 191\]"),
        ((ROWS, CELL[1:], ENDS), ValueError, "K = 3 cells, got .2."),
        ((ROWS, CELL + 1, ENDS), ValueError, "cell: expected numbers in 0..15"),
        ((ROWS, CELL[:, None].expand(3, 2), ENDS), ValueError, "columns in 0..3"),
        ((ROWS, CELL, ENDS[:-1]), ValueError, "rising from 0 to 3"),
        ((ROWS, CELL, ENDS.flip(0)), ValueError, "rising from 0 to 3"),
        ((ROWS, CELL, ENDS[None]), ValueError, "rising from 0 to 3"),
        ((ROWS.to("meta"), CELL, ENDS), ValueError, "got a tensor on meta"),
    ],
)
def test_encode(arguments, error, message):
    with pytest.raises(error, match=message):
        gated(tower("clip")).encode(*arguments)
