"""What gated towers of fixed capacity take and refuse, and their dtypes."""

import math

import pytest
import torch
from fixed_cases import OUTPUTS, assert_same, compiled, gated
from gated_cases import (
    FAMILIES,
    MEAN,
    STD,
    N,
    camera,
    flicker,
    noise,
    normalised,
    tower,
    transformers,
)

import patchgate
from patchgate.encoders.gated.fixed import _planes
from patchgate.encoders.gated.pixels import gate_planes

both = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def _no_grad():
    torch._dynamo.reset()
    with torch.no_grad():
        yield


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_planes_are_those_of_the_gate(dtype):
    fixed = gated(tower("siglip"), capacity=N)
    for clip in (camera, noise):
        x = normalised(clip(4), dtype)
        planes, in_range = _planes(x, fixed.pixel_spec)
        assert torch.equal(planes, gate_planes(x, MEAN, STD))
        assert bool(in_range)


@pytest.mark.parametrize("wrong", [math.nan, 100.0, -100.0])
def test_pixel_values_that_cannot_be_are_reported(wrong):
    fixed, x = gated(tower("siglip"), capacity=3 * N), normalised(flicker(3))
    x[1, 2, 5, 7] = wrong
    fixed(x)
    with pytest.raises(ValueError, match=r"pixel_values: expected 0..1 as RGB, got NaN or values"):
        fixed.check()
    fixed(normalised(flicker(3)))
    fixed.check()


@pytest.mark.parametrize("capacity", [-1, 0, 1, N - 1])
def test_a_capacity_that_cannot_hold_a_frame_is_refused(capacity):
    with pytest.raises(ValueError, match=r"capacity: expected at least"):
        gated(tower("clip"), capacity=capacity)


def test_a_capacity_is_a_whole_number():
    with pytest.raises(TypeError, match=r"capacity: expected a whole number, got 20.5"):
        gated(tower("clip"), capacity=20.5)


def test_refresh_is_refused():
    with pytest.raises(ValueError, match=r"refresh: not available with capacity"):
        gated(tower("siglip"), capacity=N, refresh=4)


def test_it_is_not_calibrated():
    """What does not fit would pass for an answer."""
    with pytest.raises(TypeError, match=r"tower: expected one without capacity"):
        patchgate.calibrate(gated(tower("siglip"), capacity=2 * N), [normalised(flicker(3))])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (N - 1, rf"expected at least capacity={N}, and no layer less than the one before"),
        ([N, 2 * N, N], r".* no layer less than the one before it, .* got \(16, 32, 16\)"),
        ([N, N], r"expected one number, or one for each of the 3 layers, got 2"),
    ],
)
def test_room_that_layers_cannot_have_is_refused(wrong, message):
    with pytest.raises(ValueError, match=rf"layer_capacity: {message}"):
        gated(tower("siglip"), capacity=N, tolerance=0.05, layer_capacity=wrong)


def test_room_is_a_whole_number():
    with pytest.raises(TypeError, match=r"layer_capacity: expected a whole number, got 20.5"):
        gated(tower("siglip"), capacity=N, tolerance=0.05, layer_capacity=20.5)


@pytest.mark.parametrize("settings", [{}, {"context": "kept"}])
def test_room_that_nothing_uses_is_refused(settings):
    with pytest.raises(ValueError, match=r"layer_capacity: every layer computes the kept cells"):
        gated(tower("siglip"), capacity=N, layer_capacity=2 * N, **settings)
    with pytest.raises(ValueError, match=r"layer_capacity: it needs capacity"):
        gated(tower("siglip"), layer_capacity=2 * N, **settings)


def test_calls_that_it_does_not_offer():
    fixed = gated(tower("siglip"), capacity=N)
    with pytest.raises(ValueError, match=r"stream: not available with capacity"):
        fixed.stream()
    with pytest.raises(ValueError, match=r"encode: not available with capacity"):
        fixed.encode(torch.zeros(0, 192), torch.zeros(0), torch.zeros(1))


def test_towers_that_it_does_not_offer():
    settings = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
    naflex = transformers.Siglip2VisionConfig(**settings, num_patches=16, patch_size=8)
    with pytest.raises(ValueError, match=r"Siglip2VisionModel, whose pictures have a size"):
        gated(transformers.Siglip2VisionModel(naflex), capacity=N)
    mae = transformers.VideoMAEConfig(**settings, image_size=32, patch_size=8, num_frames=4)
    with pytest.raises(ValueError, match=r"capacity: a space-time tower"):
        gated(transformers.VideoMAEModel(mae), capacity=N)


# Dtypes.


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_error_is_that_of_the_dense_tower(family, dtype):
    """At most twice the dense tower's own error in this dtype, against float64."""
    x = normalised(noise(4), dtype)
    exact, model = tower(family)(x.double()), tower(family, dtype)
    dense, fixed = model(x), compiled(gated(model, capacity=4 * N))(x)
    for name in OUTPUTS:
        assert fixed[name].dtype == dtype
        errors = [(each[name].double() - exact[name]).abs().max() for each in (fixed, dense)]
        assert errors[0] <= 2 * errors[1]


@both
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"tolerance": 0.05},
        {"tolerance": 0},
        {"capacity": 4 * N},
        {"capacity": 4 * N, "tolerance": 0.05},
    ],
    ids=["ordinary", "tolerance", "exact", "capacity", "capacity and tolerance"],
)
def test_autocast_is_that_of_the_dense_tower(family, settings):
    model, x = tower(family, torch.float32), normalised(noise(4), torch.float32)
    exact = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        dense, sparse = model(x), gated(model, **settings)(x)
    for name in OUTPUTS:
        errors = [(each[name] - exact[name]).abs().max() for each in (sparse, dense)]
        assert errors[0] <= 2 * errors[1]


@both
def test_autocast_compiles(family):
    model, x = tower(family, torch.float32), normalised(flicker(5), torch.float32)
    fixed = gated(model, capacity=3 * N)
    with torch.autocast("cpu", torch.bfloat16):
        graph, eager, ordinary = compiled(fixed)(x), fixed(x), gated(model)(x)
    assert_same(graph, eager, rtol=0, atol=1e-5)
    assert_same(eager, ordinary, rtol=0.02, atol=0.02)  # bfloat16 has 8 bits
