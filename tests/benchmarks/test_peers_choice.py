"""What a choice of benchmarks/peers says of dropped cells, and the registry; by hand."""

import math
from dataclasses import dataclass

import pytest
import torch
from peers import CHOOSERS, Choice, at_budget, chance, uniform
from peers.choice import held
from torch import Tensor

KEEP = torch.tensor([[1, 0, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.bool)  # [T, N]


def test_a_dropped_cell_is_known_as_what_was_kept_last_there_or_next() -> None:
    assert held(KEEP).tolist() == [[0, 7, -1], [0, 7, -1], [6, 7, -1]]


def test_a_choice_counts_packs_and_shows() -> None:
    choice = Choice.of(KEEP)
    assert torch.equal(choice.keep, KEEP)
    assert choice.tokens == 3
    assert choice.token_ids.tolist() == [[0, 2, -1], [0, 2, -1], [1, 2, -1]]
    assert choice.sizes().tolist() == [[2, 0, 0], [0, 0, 0], [1, 3, 0]]
    features = torch.arange(9.0).view(3, 3, 1) + 1
    assert choice.shown(features).flatten().tolist() == [1, 8, 0, 1, 8, 0, 7, 8, 0]


def test_a_merged_token_shows_the_mean_of_its_cells() -> None:
    choice = Choice(torch.tensor([[0, 1], [0, 3], [0, 3]]), mean=True)
    features = torch.tensor([[3.0, 10], [6, 20], [9, 40]])[..., None]
    assert choice.shown(features).flatten().tolist() == [6, 10, 6, 30, 6, 30]
    assert choice.tokens == 3


def test_shapes_of_features_are_kept() -> None:
    features = torch.randn(3, 1, 3, 5)
    choice = Choice.of(KEEP.view(3, 1, 3))
    assert torch.equal(choice.shown(features).view(3, 3, 5), Choice.of(KEEP).shown(features[:, 0]))


def test_chance_keeps_the_first_frame_and_as_many_as_asked_for() -> None:
    choice = chance.choose((10, 2, 3), 0.5)
    assert choice.tokens == 30
    assert bool(choice.keep[0].all())
    assert chance.choose((10, 2, 3), 0).tokens == 6
    assert not torch.equal(choice.keep, chance.choose((10, 2, 3), 0.5, seed=1).keep)


def test_uniform_keeps_whole_frames() -> None:
    choice = uniform.choose((25, 2, 2), 25, 5)
    assert choice.keep.flatten(1).sum(1).nonzero().flatten().tolist() == [0, 5, 10, 15, 20]
    assert choice.tokens == 20
    assert int(choice.source[9, 1, 1]) == 5 * 4 + 3


@dataclass
class Still:
    """A clip of noise over a still picture; its features are its pixels."""

    fps: int = 12
    patch: int = 8

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        picture = torch.randint(60, 190, (3, 64, 64))
        noise = (
            torch.randint(-20, 20, (24, 3, 64, 64)) * torch.linspace(0, 1, 24)[:, None, None, None]
        )
        self.rgb = (picture + noise.long()).to(torch.uint8)
        self.luma = self.rgb[:, 1]
        self.shape = (24, 8, 8)

    @property
    def features(self) -> Tensor:
        cut = self.rgb.float().unfold(2, 8, 8).unfold(3, 8, 8)
        return cut.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2) - 128


@pytest.mark.parametrize("name", CHOOSERS)
def test_every_peer_has_a_choice_for_every_setting(name: str) -> None:
    peer, clip = CHOOSERS[name], Still()
    counts = []
    for value in peer.sweep:
        choice = peer.choose(clip, value)
        assert choice.source.shape == clip.shape
        source = choice.source.flatten()
        assert bool((choice.keep.flatten()[source[source >= 0]]).all())  # a token stands for itself
        counts.append(choice.tokens)
    assert counts[0] == math.prod(clip.shape) or name == "uniform"  # it has 12 of 30 frames
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < counts[0]
    assert peer.choose(clip).tokens == peer.choose(clip, peer.own).tokens


@pytest.mark.parametrize("name", CHOOSERS)
def test_what_is_measured_once_serves_every_value(name: str) -> None:
    peer, clip = CHOOSERS[name], Still()
    at = peer.on(clip)
    for value in (peer.sweep[-1], peer.own, peer.sweep[0], peer.own):  # to and fro
        assert torch.equal(at(value).source, peer.choose(clip, value).source)


@pytest.mark.parametrize("name", CHOOSERS)
@pytest.mark.parametrize("tokens", [400, 800, 1536])
def test_a_budget_is_never_exceeded_and_nearly_met(name: str, tokens: int) -> None:
    choice = at_budget(CHOOSERS[name], Still(), tokens)
    assert choice is not None
    assert choice.tokens <= tokens
    whole_frames, one_of_each = 2 * 64, 24  # a rate of 1 more is two frames more
    slack = {"uniform": whole_frames, "ToMe": one_of_each, "VidCom2": one_of_each,
             "GRT scene merge": one_of_each}.get(name, 1)  # fmt: skip
    assert choice.tokens >= tokens - slack


def test_a_budget_below_a_frame_is_refused_by_what_keeps_one() -> None:
    assert at_budget(CHOOSERS["EVS"], Still(), 63) is None
    assert at_budget(CHOOSERS["RLT"], Still(), 63) is None
    assert at_budget(CHOOSERS["GRT scene merge"], Still(), 16 * 24 - 1) is None
