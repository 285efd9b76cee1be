"""embed: its own tolerance, and what it does not compute because no vector needs it."""

import math
from typing import Any

import pytest
import torch
from family_models import the_timm
from gated_cases import MEAN, STD
from test_embed import FIDELITIES, N, close, gated, grey, own_call, pictures, video
from torch import Tensor

import patchgate
from patchgate.encoders.families import tower_of


def vectors(tower: patchgate.GatedTower, **options: Any) -> Tensor:
    return patchgate.embed(video(), tower, **options).features


def of_timm(pool: str) -> patchgate.GatedTower:
    """Three layers, at the size of the video."""
    torch.manual_seed(0)
    model = the_timm().models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2, num_classes=0,
        global_pool=pool,
    )  # fmt: skip
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(torch.randn_like(weights) * 0.3)
    return patchgate.gated(model.double().eval(), mean=MEAN, std=STD, threshold=8, tolerance=0.1)


# --- Its tolerance ---


@pytest.mark.parametrize("name", ["siglip", "registers"])
def test_the_default_tolerance_is_that_of_vectors(name: str) -> None:
    found = vectors(gated(name), pool="mean")
    assert torch.equal(found, vectors(gated(name), pool="mean", tolerance=0.1))
    assert torch.equal(found, vectors(gated(name, tolerance=0.1), pool="mean"))
    assert not torch.equal(found, vectors(gated(name), pool="mean", tolerance=0.15))


@pytest.mark.parametrize("own", [0.0, 0.3, math.inf])
def test_another_tolerance_of_the_tower_is_used(own: float) -> None:
    found = vectors(gated("siglip", tolerance=own))
    assert torch.equal(found, vectors(gated("siglip"), tolerance=own))
    close(found, own_call(gated("siglip", tolerance=own), "pooled"))


def test_a_tower_without_context_has_no_tolerance() -> None:
    tower = gated("clip", context="kept")
    assert len(vectors(tower)) == len(grey())
    with pytest.raises(ValueError, match='tolerance: context="kept" has no use for it'):
        vectors(tower, tolerance=0.1)


@pytest.mark.parametrize("tolerance", [-1, math.nan])
def test_a_tolerance_that_is_none_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance: expected"):
        vectors(gated("clip"), tolerance=tolerance)


# --- The last layer ---


def last_rows(tower: patchgate.GatedTower, pool: str) -> int:
    """How many rows the last layer's MLP computes for a video."""
    block = tower.tower.encoder.layer[-1]
    counts: list[int] = []
    seen = block.mlp.register_forward_hook(lambda _, inputs, __: counts.append(len(inputs[0])))
    try:
        vectors(tower, pool=pool)
    finally:
        seen.remove()
    return sum(counts)


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_the_last_layer_is_computed_for_prefix_tokens_only(fidelity: str) -> None:
    tower = gated("registers", **FIDELITIES[fidelity])
    prefix = tower_of(tower.tower).prefix
    few, all_ = last_rows(tower, "cls"), last_rows(tower, "mean")
    assert prefix > 1
    assert prefix <= few <= prefix * len(grey())
    assert few % prefix == 0
    assert all_ >= few + N  # the first frame is computed as a whole


@pytest.mark.parametrize("pool", ["token", "avg", "avgmax", "map"])
def test_timms_pools_get_the_states_that_they_read(pool: str) -> None:
    tower = of_timm(pool)
    assert tower_of(tower.tower).pools_prefix == (pool == "token")
    with torch.no_grad():
        close(vectors(tower, chunk=5), tower(pictures(tower)))


def test_a_pool_that_is_changed_later_is_the_one_in_use() -> None:
    tower = of_timm("token")
    before = vectors(tower)
    tower.tower.reset_classifier(0, "avg")
    after = vectors(tower)
    with torch.no_grad():
        close(after, tower(pictures(tower)))
    assert not torch.allclose(before, after, atol=1e-3)
