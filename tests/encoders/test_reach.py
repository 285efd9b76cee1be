"""reach: how far the output of each head moves a token's state."""

import copy

import pytest
import torch
from family_models import DINOV2
from gated_cases import transformers
from gated_families import CASES
from torch import Tensor, nn

from patchgate.encoders.families import tower_of
from patchgate.encoders.tower import Tower


@pytest.fixture
def dinov2() -> Tower:
    torch.manual_seed(0)
    model = transformers.Dinov2Model(transformers.Dinov2Config(**DINOV2)).double().eval()
    for layer in tower_of(model).model.encoder.layer:
        nn.init.uniform_(layer.layer_scale1.lambda1, 0.1, 2)
    return tower_of(model)


def defined(weight: Tensor, scale: Tensor) -> Tensor:
    """``|diag(scale) W[:, head h]|_F / sqrt(d)`` of three heads of eight features."""
    parts = (scale[:, None] * weight).unflatten(1, (3, 8))  # [D, H, d]
    return parts.pow(2).sum((0, 2)).sqrt() / 8**0.5


def of_weights(tower: Tower, layer: int) -> Tensor:
    output, scale = tower.projections(layer)
    return defined(output.weight.detach(), scale.lambda1.detach())


@pytest.mark.parametrize("name", sorted(CASES))
def test_it_is_the_root_mean_square_over_directions(name: str) -> None:
    """From the definition, by what random moves of one head add to a state."""
    case = CASES[name]()
    tower = tower_of(case.model.double().eval())
    torch.manual_seed(0)
    unit = nn.functional.normalize(torch.randn(20_000, 8, dtype=torch.float64), dim=1)
    reaches = tower.reaches(3, 8)
    assert len(reaches) == tower.depth
    for layer, reach in enumerate(reaches):
        nothing = torch.zeros(1, 3, 8, dtype=torch.float64)
        for head in range(3):
            move = nothing.repeat(len(unit), 1, 1)
            move[:, head] = unit
            added = tower.added(layer, move) - tower.added(layer, nothing)
            rms = float(added.detach().norm(dim=1).square().mean().sqrt())
            assert float(reach[head]) == pytest.approx(rms, rel=0.02)


def test_layer_scale_is_in_it(dinov2: Tower) -> None:
    for layer, reach in enumerate(dinov2.reaches(3, 8)):
        torch.testing.assert_close(reach, of_weights(dinov2, layer))


def test_what_wraps_the_projection_is_in_it(dinov2: Tower) -> None:
    class Doubled(nn.Module):
        def __init__(self, base: nn.Module) -> None:
            super().__init__()
            self.base = base

        def forward(self, x: Tensor) -> Tensor:
            return 2 * self.base(x)

    before = dinov2.reaches(3, 8)
    scales = [layer.layer_scale1 for layer in dinov2.model.encoder.layer]
    for layer, scale in zip(dinov2.model.encoder.layer, scales, strict=True):
        layer.layer_scale1 = Doubled(scale)
    for one, other in zip(dinov2.reaches(3, 8), before, strict=True):
        torch.testing.assert_close(one, 2 * other)


@pytest.mark.parametrize("change", ["in place", "data", "replaced", "dtype"])
def test_it_follows_the_weights(dinov2: Tower, change: str) -> None:
    dinov2.reaches(3, 8)
    output, _ = dinov2.projections(1)
    with torch.no_grad():
        if change == "in place":
            output.weight.mul_(3)
        elif change == "data":
            output.weight.data = 3 * output.weight.data
        elif change == "replaced":
            output.weight = nn.Parameter(3 * output.weight)
        else:
            dinov2.model.float()
    reach = dinov2.reaches(3, 8)[1]
    torch.testing.assert_close(reach, of_weights(dinov2, 1))
    assert reach.dtype == (torch.float32 if change == "dtype" else torch.float64)


def test_it_is_computed_once_for_all_towers_of_a_model(
    dinov2: Tower, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dinov2.reaches(3, 8)
    monkeypatch.setattr(Tower, "added", None)  # a further call would fail
    for tower in (dinov2, dinov2.copied(), dinov2.sized(16, 24), copy.copy(dinov2)):
        assert tower.reaches(3, 8) is first


def test_neither_autocast_nor_inference_mode_nor_gradients_change_it(dinov2: Tower) -> None:
    dinov2.model.float()
    plain = [reach.clone() for reach in dinov2.reaches(3, 8)]
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        found = tower_of(dinov2.model).reaches(3, 8)
    for one, other in zip(found, plain, strict=True):
        assert torch.equal(one, other)
    assert not any(reach.requires_grad for reach in dinov2.reaches(3, 8))
