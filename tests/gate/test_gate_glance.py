"""What a gate looks at before it does dear work: for pictures that return, and for the light."""

from typing import Any

import pytest
import torch
from gate_oracle_light import glanced
from gate_states import assert_equal
from gate_videos import busy_video, texture
from rebuild import CHANGED, RETURNED
from torch import Tensor

from patchgate import Gate
from patchgate.gate.longterm import fitting
from patchgate.reference.gate_light import glance_places

P = 8  # cell side
SIZE = (48, 64)


def held(*seeds: int) -> Tensor:
    """Pictures, each for two frames: ``[T, 3, H, W]``."""
    return torch.cat([texture(SIZE, seed, 3).expand(2, -1, -1, -1) for seed in seeds])


@pytest.mark.parametrize("chunk", [1, 32])
def test_only_pictures_that_look_alike_are_compared(
    monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    compared, real = [], fitting._costs

    def counted(*given: Any) -> Any:
        compared.append(given)
        return real(*given)

    monkeypatch.setattr(fitting, "_costs", counted)
    gate = Gate(patch=P, memory=4)
    for part in held(1, 2, 3, 4, 5).split(chunk):
        gate.push(part)
    assert compared == []
    result = gate.push(held(2))
    assert bool((result.kind[0] == RETURNED).all())
    assert len(compared) == 2  # the picture, and the reference


@pytest.mark.parametrize(("apart", "kind"), [(8, RETURNED), (9, CHANGED)])
def test_cells_return_if_four_samples_are_near(apart: int, kind: int) -> None:
    """Twice the 4 grey levels that a pixel may differ by on average."""
    again = held(1)
    sample = again[:, 0, 2::P, 5::P]
    sample += torch.where(sample < 128, apart, -apart).to(torch.uint8)
    result = Gate(patch=P, memory=2).push(torch.cat([held(1, 2), again]))
    assert set(result.kind[4].unique().tolist()) == {kind}


def test_what_is_noted_of_many_pushes_is_what_one_push_finds() -> None:
    video = torch.cat([busy_video(seed)[:, :, :16, :16] for seed in range(8)])
    one, many = Gate(patch=P, memory=2), Gate(patch=P, memory=2)
    one.push(video)
    for frame in video.split(1):
        many.push(frame)
    assert len(video) > 64
    assert_equal(many.state_dict(), one.state_dict())


@pytest.mark.parametrize(("h", "w"), [(27, 27), (32, 32), (9, 64), (2, 3)])
def test_the_light_is_looked_for_everywhere(h: int, w: int) -> None:
    places = glance_places(h, w, torch.device("cpu")).tolist()
    assert places == [row * w + column for row, column in glanced(h, w)]
    for side, numbers in ((h, [n // w for n in places]), (w, [n % w for n in places])):
        assert len(set(numbers)) == min(side, 32)
        assert min(numbers) <= side // 32
        assert max(numbers) >= side - 1 - side // 32
