"""Peers that work inside a tower: equal to the dense one where nothing is left out; by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peers import ENCODERS, eventful, layers, stc, tome_layers
from peers.eventful import TokenGate
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model, SiglipVisionConfig, SiglipVisionModel

import patchgate


def tower() -> SiglipVisionModel:
    torch.manual_seed(0)
    config = SiglipVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        image_size=32, patch_size=8, vision_use_head=False,
    )  # fmt: skip
    return SiglipVisionModel(config).double().eval().requires_grad_(False)


def dinov2() -> Dinov2Model:
    """With scales of its own in each feature, and positions that have to be resized."""
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=3, num_attention_heads=4, mlp_ratio=2, image_size=48,
        patch_size=8,
    )  # fmt: skip
    model = Dinov2Model(config).double().eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name.endswith("lambda1"):
            parameter.uniform_(0.1, 2)
    return model


TOWERS = (tower, dinov2)


def clip(frames: int = 4) -> Tensor:
    return torch.rand(frames, 3, 32, 32, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize(("make", "tokens"), [(tower, 16), (dinov2, 17)])
def test_the_layers_taken_apart_are_the_tower(make: Callable[[], Any], tokens: int) -> None:
    model, pixels = make(), clip()
    found = layers.dense(model, pixels)
    assert torch.allclose(found.features, model(pixels).last_hidden_state, atol=1e-12)
    assert found.tokens == 4 * tokens


@pytest.mark.parametrize("make", TOWERS)
def test_work_is_counted_as_patchgate_counts_it(make: Callable[[], Any]) -> None:
    model, pixels = make(), clip()
    gated = patchgate.gated(model, mean=(0.5,) * 3, std=(0.5,) * 3)
    gated(pixels)
    assert gated.last_work is not None
    assert layers.dense(model, pixels).flops == gated.last_work.dense_flops


@pytest.mark.parametrize("make", TOWERS)
@pytest.mark.parametrize("name", ENCODERS)
def test_all_of_the_tokens_is_the_dense_tower(name: str, make: Callable[[], Any]) -> None:
    model, pixels = make(), clip()
    if make is dinov2 and name == "ToMe in the tower":
        with pytest.raises(TypeError, match="without a CLS token"):
            ENCODERS[name].encode(model, pixels, 1.0)
        return
    dense, found = layers.dense(model, pixels), ENCODERS[name].encode(model, pixels, 1.0)
    assert torch.allclose(found.features, dense.features, atol=1e-12)
    assert (found.tokens, found.flops) == (dense.tokens, dense.flops)


@pytest.mark.parametrize("make", TOWERS)
@pytest.mark.parametrize("encode", [eventful.encode, stc.encode])
def test_a_still_clip_is_the_dense_tower_for_less(
    encode: Callable[..., Any], make: Callable[[], Any]
) -> None:
    model, pixels = make(), clip(1).repeat(5, 1, 1, 1)
    found = encode(model, pixels, 0.25)
    dense = layers.dense(model, pixels)
    assert torch.allclose(found.features, dense.features, atol=1e-12)
    assert found.flops < 0.8 * dense.flops


def test_a_tower_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Linear: expected a SiglipVisionModel's or a Dinov2Model"):
        layers.layers(torch.nn.Linear(1, 1))


# --- Eventful ---------------------------------------------------------------------------------


def test_a_token_gate_renews_what_moved_farthest_and_remembers_the_rest() -> None:
    seen: list[int] = []

    def twice(x: Tensor) -> Tensor:
        seen.append(len(x))
        return 2 * x

    gate = TokenGate(twice, 0.5)
    for x, expected in (
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([1, 3, 2, 0], [0, 6, 4, 0]),  # 3 and 2 moved farthest
        ([1, 3, 2, 5], [2, 6, 4, 10]),  # 1 since the first frame: anchored
    ):
        found, _ = gate(torch.tensor(x, dtype=torch.float64)[:, None])
        assert found.flatten().tolist() == expected
    assert seen == [4, 2, 2]


def test_eventful_work_by_hand() -> None:
    n, d, wide, half = 16, 32, 48, 8
    flops = 2 * (2 * 3 * 64 * d * n)  # both frames are embedded
    flops += 3 * (n * (8 * d * d + 4 * d * wide) + 4 * d * n * n)
    flops += 3 * (half * (8 * d * d + 4 * d * wide) + 4 * d * n * n)
    assert eventful.encode(tower(), clip(2), 0.5).flops == flops


# --- STC --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", TOWERS)
def test_stc_computes_every_second_frame_in_full(make: Callable[[], Any]) -> None:
    model, pixels = make(), clip(5)
    found = stc.encode(model, pixels, 0.25).features
    dense = model(pixels).last_hidden_state
    close = [bool(torch.allclose(a, b, atol=1e-12)) for a, b in zip(found, dense, strict=True)]
    assert close == [True, False, True, False, True]


def test_stc_work_by_hand() -> None:
    n, d, wide, some = 16, 32, 48, 4
    flops = 2 * (2 * 3 * 64 * d * n) + 3 * (n * (8 * d * d + 4 * d * wide) + 4 * d * n * n)
    # keys of all; query, value, projection, MLP and attention of some
    flops += 3 * (2 * d * d * (n + 3 * some) + some * (4 * d * wide + 4 * d * n))
    assert stc.encode(tower(), clip(2), 0.25).flops == flops


# --- ToMe -------------------------------------------------------------------------------------


def test_tome_of_equal_tokens_is_the_dense_tower() -> None:
    # Merging what is equal changes nothing, since attention is proportional to size.
    model = tower()
    model.embeddings.position_embedding.weight.zero_()
    rows = torch.tensor([-0.5, -0.5, 0.5, 0.5], dtype=torch.float64)  # two kinds of cells
    pixels = rows.repeat_interleave(8)[:, None].expand(1, 3, 32, 32)
    found, dense = tome_layers.encode(model, pixels, 0.5), layers.dense(model, pixels)
    assert found.tokens == 8
    assert torch.allclose(found.features, dense.features, atol=1e-12)
    assert found.flops < 0.8 * dense.flops


def test_tome_removes_so_many_a_layer() -> None:
    model, pixels = tower(), clip(2)
    assert tome_layers.encode(model, pixels).tokens == 2 * 2  # half a layer: 13 are too many
    assert tome_layers.encode(model, pixels, 0.5).tokens == 2 * 8
    assert tome_layers.encode(model, pixels, 0.1).tokens == 2 * 3  # 16, 11, 6, half of it
