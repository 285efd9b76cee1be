"""What computes features of every frame: dense, sampled, gated, and the peers inside a tower.

Letters: T frames, N cells of a frame, D features.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from peers import ENCODERS, layers, rlt
from torch import Tensor
from transformers import Dinov2Model

import patchgate
from patchgate.encoders.patch_grid import patch_rows
from pretrained.weights import MEAN, PATCH, STD

BATCH = 8  # frames of the dense tower at a time


class Found(NamedTuple):
    """Features of every cell of every frame, and what they cost."""

    features: Tensor  # [T, 1 + N, D], CLS first
    work: float  # operations, of the dense tower's on all frames
    kept: float  # tokens that leave the tower, of all cells
    cls: bool = True  # whether CLS is more than a stand-in


class Method(Protocol):
    """One way to features."""

    @property
    def name(self) -> str:
        """With its settings."""
        ...

    def __call__(self, model: Dinov2Model, pixels: Tensor) -> Found:
        """Computes the features of a clip ``[T, 3, H, W]``."""
        ...


def dense(model: Dinov2Model, pixels: Tensor) -> Tensor:
    """``[T, 1 + N, D]`` by the tower itself."""
    return torch.cat([model(pixel_values=some).last_hidden_state for some in pixels.split(BATCH)])


@dataclass(frozen=True)
class Dense:
    """Every cell of every frame."""

    name = "dense"

    def __call__(self, model: Dinov2Model, pixels: Tensor) -> Found:
        return Found(dense(model, pixels), 1.0, 1.0)


@dataclass(frozen=True)
class Sampled:
    """A method on every k-th frame; its features are held until the next."""

    every: int
    method: Any = Dense()

    @property
    def name(self) -> str:
        return f"{self.method.name}, every {self.every}"

    def __call__(self, model: Dinov2Model, pixels: Tensor) -> Found:
        found = self.method(model, pixels[:: self.every])
        share = len(found.features) / len(pixels)
        held = torch.arange(len(pixels)) // self.every
        return Found(found.features[held], found.work * share, found.kept * share, found.cls)


@dataclass(frozen=True)
class Gated:
    """``patchgate.gated`` with some settings."""

    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        if not self.settings:
            return "patchgate, defaults"
        said = (f"{name}={_plain(value)}" for name, value in self.settings)
        return "patchgate" + "".join(f", {each}" for each in said)

    def __call__(self, model: Dinov2Model, pixels: Tensor) -> Found:
        tower = patchgate.gated(model, mean=MEAN, std=STD, **dict(self.settings))
        features = tower(pixels).last_hidden_state
        work = tower.last_work
        assert work is not None
        return Found(features, work.gated_flops / work.dense_flops, work.kept_share)


def gated(**settings: Any) -> Gated:
    """Ours, with these settings changed."""
    return Gated(tuple(settings.items()))


@dataclass(frozen=True)
class RunLength:
    """RLT's mask at its own threshold, and residual attention behind it."""

    tau: float = rlt.TAU

    @property
    def name(self) -> str:
        return f"RLT, residual, {self.tau:g}"

    def __call__(self, model: Dinov2Model, pixels: Tensor) -> Found:
        tower = patchgate.gated(model, mean=MEAN, std=STD, tolerance=math.inf)
        choice = rlt.choose(rlt.differences(pixels, PATCH), self.tau)
        index = choice.keep.flatten().nonzero().flatten()  # [K]
        lengths = choice.keep.flatten(1).sum(1)
        ends = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        source = choice.token_ids  # [T, h, w]
        rows = patch_rows(pixels, PATCH, index)
        kept = tower.encode(rows, index % source[0].numel(), ends, source)
        work = tower.last_work
        # ``encode`` leaves CLS out: the last cell stands in for it.
        cells = kept[source.flatten(1)]  # [T, N, D]
        features = torch.cat([cells[:, -1:], cells], 1)
        share = work.gated_flops / work.dense_flops
        return Found(features, share, len(index) / source.numel(), cls=False)


@dataclass(frozen=True)
class Inside:
    """A peer that works in the tower's layers, at a value of its knob."""

    peer: str
    value: float

    @property
    def name(self) -> str:
        return f"{self.peer}, {self.value:g}"

    def __call__(self, model: Dinov2Model, pixels: Tensor) -> Found:
        encode: Callable[..., Any] = ENCODERS[self.peer].encode
        found = encode(model, pixels, self.value)
        first, flops = layers.embedded(model, pixels[:1])
        whole = flops + layers.layer_flops(layers.layers(model), first)
        return Found(found.features, found.flops / (whole * len(pixels)), 1.0)


def _plain(value: Any) -> str:
    return "inf" if value == math.inf else str(value)
