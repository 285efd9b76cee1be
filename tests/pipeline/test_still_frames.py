"""Frames that stand still take one step, and have the tokens that they have by all steps."""

from __future__ import annotations

import pytest
import torch
from gated_cases import flicker
from stream_cases import RULES, every_rule, gated

import patchgate
from patchgate import FrameBatch
from patchgate.pipeline.features import TowerFeatures


def still_and_moving():
    """A video in which frames 3, 4, 8, 9 and 10 show what the frame before shows."""
    frames = flicker(6, 4)
    return frames[[0, 1, 2, 2, 2, 3, 4, 5, 5, 5, 5]]


@pytest.fixture
def noted(monkeypatch):
    """What ``still`` has answered."""
    found, own = [], TowerFeatures.still

    def still(self, source):
        found.append(own(self, source))
        return found[-1]

    monkeypatch.setattr(TowerFeatures, "still", still)
    return found


def pushed(tower):
    tokenizer = patchgate.Tokenizer(tower)
    return [tokenizer.push(FrameBatch.from_rgb(frame, [0.04 * t]))
            for t, frame in enumerate(still_and_moving())]  # fmt: skip


@every_rule
def test_tokens_are_those_of_all_steps(rule, noted, monkeypatch):
    tower = gated("siglip", **RULES[rule])
    found = pushed(tower)
    still = sum(not chunk.kind.any() for chunk in found)
    assert still >= 5
    assert sum(noted) == (0 if rule in ("refreshed", "passing") else still)
    monkeypatch.setattr(TowerFeatures, "still", lambda self, source: False)
    for one, other in zip(found, pushed(tower), strict=True):
        assert one.tensors().keys() == other.tensors().keys()
        for field, tensor in one.tensors().items():
            assert tensor.dtype == getattr(other, field).dtype, field
            assert torch.equal(tensor, getattr(other, field)), field


def test_a_gate_that_goes_on_with_a_state_counts_still_frames(noted):
    tower = gated("siglip")
    one = patchgate.Tokenizer(tower)
    frames = still_and_moving()
    for t in range(4):
        one.push(FrameBatch.from_rgb(frames[t], [0.04 * t]))
    other = patchgate.Tokenizer(tower)
    other.load_state_dict(one.state_dict())
    for t in range(4, 11):
        batch = FrameBatch.from_rgb(frames[t], [0.04 * t])
        a, b = one.push(batch), other.push(batch)
        for field, tensor in a.tensors().items():
            assert torch.equal(tensor, getattr(b, field)), field
    assert any(noted)
    assert one.frames == other.frames == 11
