"""Frames of more than 8 bits are turned and mirrored as others are."""

import itertools

import pytest
import torch

from patchgate.decode.orientation import Orientation, oriented


@pytest.mark.parametrize("how", itertools.product([False, True], repeat=3))
def test_deep_planes_are_turned_as_others(how: tuple[bool, bool, bool]) -> None:
    plane = torch.randint(0, 2**16, (2, 3, 5))
    deep = oriented(plane.to(torch.uint16), Orientation(*how))
    assert deep.dtype == torch.uint16
    assert torch.equal(deep.long(), oriented(plane, Orientation(*how)))
