"""A budget holds exactly, and costs no more threshold than it must."""

import pytest
import torch

import patchgate
from patchgate.serving.budget import fitted, most_tokens
from patchgate.serving.settings import Budget

N = 12
RULES = patchgate.Gate(threshold=1, patch=4, merge=2, temporal_patch=2).settings


def noisy(frames: int, most: int) -> torch.Tensor:
    """A clip ``[T, 3, 24, 32]`` whose cells differ from frame to frame by up to ``most`` levels."""
    random = torch.Generator().manual_seed(1)
    base = torch.randint(60, 180, (1, 3, 24, 32), generator=random)
    amount = torch.linspace(0, most, 4).repeat_interleave(8)  # by column of cells
    noise = (torch.rand(frames, 3, 24, 32, generator=random) * 2 - 1) * amount
    return (base + noise).round().clamp(0, 255).byte()


def tokens(result) -> int:
    return int((result.kind == 2).sum())


@pytest.mark.parametrize("most", [N, N + 1, 20, 30, 50, 10_000])
def test_it_holds_exactly(most):
    planes = noisy(16, 60)
    gate, result = fitted(planes, RULES, most)
    rules = gate.settings
    assert tokens(result) <= most
    again = patchgate.Gate.of(rules).push(planes)
    assert torch.equal(again.kind, result.kind)
    assert torch.equal(again.source, result.source)
    if most == 10_000:
        assert rules == RULES
    else:
        assert rules.threshold > RULES.threshold


def test_more_room_needs_no_larger_threshold():
    planes = noisy(16, 60)
    found = [fitted(planes, RULES, most).gate.settings.threshold for most in (N, 20, 40, 70)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


def test_it_holds_for_the_next_frames_of_a_stream():
    planes = noisy(16, 60)
    first = fitted(planes[:8], RULES, None)
    state = first.gate.state_dict()
    next_one = fitted(planes[8:], RULES, 5, state)
    assert tokens(next_one.result) <= 5 < tokens(first.result)
    whole = patchgate.Gate.of(RULES)
    whole.push(planes[:8])
    plain = fitted(planes[8:], RULES, None, state)
    assert torch.equal(plain.result.source, whole.push(planes[8:]).source)


def test_what_no_threshold_can_do_is_an_error():
    old = patchgate.Gate(threshold=1, patch=4, merge=2, temporal_patch=2, max_age=2).settings
    with pytest.raises(ValueError, match="more than the 20 that the server allows"):
        fitted(noisy(16, 60), old, 20)


def test_limits():
    assert most_tokens(Budget(), None, N) is None
    assert most_tokens(Budget(max_tokens=50), None, N) == 50
    assert most_tokens(Budget(max_tokens_per_second=10), 7.55, N) == 75
    assert most_tokens(Budget(max_tokens_per_second=10), 0.5, N) == N  # the first frame
    assert most_tokens(Budget(50, 10), 7.5, N) == 50
    assert most_tokens(Budget(100, 10), 7.5, N) == 75
    with pytest.raises(ValueError, match="its first frame alone has 12 tokens"):
        most_tokens(Budget(max_tokens=11), 3, N)
    with pytest.raises(ValueError, match="length is not known"):
        most_tokens(Budget(max_tokens_per_second=11), None, N)
