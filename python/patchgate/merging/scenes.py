"""Scenes: runs of frames between cuts, and which of them show the same place.

After GRT's semantic-scene merging (arXiv 2509.14199): the tokens of a key frame, averaged, become a
distribution, and scenes whose distributions are close are one semantic scene.

Letters: T frames, S scenes, h w cells, K tokens, D features, V outcomes of a distribution.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from patchgate._check import checked_count, checked_number
from patchgate._tensors import truths, whole
from patchgate.gate import CHANGED
from patchgate.merging.settings import DELTA
from patchgate.tokens import VideoTokens

Head = Callable[[Tensor], Tensor]  # [D] -> [V] logits

KEY_SHARE = 0.8  # of a frame's cells: with more tokens of its own it is a key frame


class Scenes(NamedTuple):
    """The scenes of a video."""

    start: Tensor  # [S] int64: the frame that each begins with
    label: Tensor  # [S] int64: scenes of one label are one semantic scene
    of_frame: Tensor  # [T] int64: the scene that each frame belongs to


def scenes(
    tokens: VideoTokens, head: Head | None = None, delta: float | None = DELTA, memory: int = 4
) -> Scenes:
    """Cuts a video at the key frames that look unlike the scene before them.

    A key frame is the first one, and every one of which more than four fifths of the cells have
    tokens of their own, or had before these were merged (so does a cut of the gate's). If the
    Jensen-Shannon divergence of its distribution from that of the key frame before is at most
    ``delta``, the scene goes on. Else a scene begins: the semantic scene of the closest of the last
    ``memory`` other ones, if that one is within ``delta``, or a new one.

    Args:
        tokens: of any features. Merged ones stand for every cell that was merged into them.
        head: of the mean feature ``[D]`` gives the logits ``[V]`` of its distribution: a language
            model's, as in the paper. None: the mean feature itself, brought to mean 0 and variance
            1 over its D numbers, which needs no weights and tells scenes apart as far as their
            means differ.
        delta: nats, 0 to log 2. None: no cuts.
        memory: scenes.

    Raises:
        ValueError, TypeError: numbers out of range; features that are not finite.
    """
    if delta is not None:
        delta = checked_number("delta", delta, 0, 0.6931471805599453, "nats")
    tracker = SceneTracker(delta, checked_count("memory", memory, 0), head)
    dtype = tokens.features.dtype
    steps = tracker.follow(tokens.features, tokens.kind, tokens.source, tokens.source, dtype)
    of_frame = whole([step.scene for step in steps])
    first = truths([step.begins for step in steps])
    label = whole([step.label for step in steps])
    return Scenes(first.nonzero().flatten(), label[first], of_frame)


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """The divergence of two distributions ``[V]`` in nats, 0 to log 2 (J. Lin, 1991)."""
    middle = (p + q) / 2
    return float(sum(torch.xlogy(x, x / middle).nansum() for x in (p, q)) / 2)


class Step(NamedTuple):
    """What is known of a frame."""

    scene: int
    label: int
    begins: bool  # a scene
    returned: Tensor | None  # [h, w]: what the scene showed when it was last seen


@dataclass
class Seen:
    """A scene that is over."""

    distribution: Tensor  # [V]
    label: int
    picture: Tensor | None  # [h, w]: tokens that it showed last


@dataclass
class SceneTracker:
    """Follows a video's scenes, some frames at a time. What it remembers is bounded."""

    delta: float | None
    memory: int
    head: Head | None = None
    current: Seen | None = None
    over: list[Seen] = field(default_factory=list)  # the last first
    returned: Tensor | None = None  # of the current scene
    scene: int = -1
    labels: int = 0  # so far

    def follow(
        self,
        features: Tensor,  # [K, D]
        kind: Tensor,  # [T, h, w]
        source: Tensor,  # [T, h, w]
        names: Tensor,  # [T, h, w]
        dtype: torch.dtype,
    ) -> list[Step]:
        """The next frames.

        Args:
            source: rows of the features, negative for tokens that are not at hand.
            names: the same in whatever numbers ``returned`` pictures are wanted in.
            dtype: of the features as they came, which a head is given its mean in.
        """
        new = kind >= CHANGED  # [T, h, w]
        key = new.flatten(1).double().mean(1) > KEY_SHARE
        new = new & (source >= 0)
        steps = []
        for t, (is_key, picture) in enumerate(zip(key.tolist(), names, strict=True)):
            begins = self.current is None
            rows = source[t][new[t]]  # [n]
            if is_key and len(rows) and (self.delta is not None or begins):
                shown = features[rows.to(features.device)]  # [n, D]
                begins = self._meet(self._distribution(shown, dtype)) or begins
            elif begins:  # a slice may begin anywhere
                self._begin(Seen(features.new_zeros(0).double(), self._new_label(), None))
            assert self.current is not None
            self.current.picture = picture
            steps.append(Step(self.scene, self.current.label, begins, self.returned))
        return steps

    def copy(self) -> Self:
        """One that goes on from here: what it follows is nothing to this one."""
        current = None if self.current is None else replace(self.current)
        return replace(self, current=current, over=list(self.over))

    def pictures(self) -> list[Tensor]:
        """What scenes that are over showed last, as far as it is remembered: ``[h, w]`` each."""
        found = [*(seen.picture for seen in self.over), self.returned]
        return [picture for picture in found if picture is not None]

    def _distribution(self, features: Tensor, dtype: torch.dtype) -> Tensor:
        mean = features.double().mean(0)  # [D]
        if self.head is not None:
            mean = mean.to(dtype) if dtype.is_floating_point else mean.float()
            logits = self.head(mean).double().flatten()
        else:
            centred = mean - mean.mean()
            logits = centred / centred.square().mean().sqrt().clamp(min=1e-30)
        found = logits.detach().softmax(0).cpu()
        if not bool(found.isfinite().all()):
            raise ValueError("tokens: the features of a key frame are not finite")
        return found

    def _meet(self, distribution: Tensor) -> bool:
        """Whether a key frame begins a scene."""
        if self.current is not None and self._distance(self.current, distribution) <= self._limit:
            self.current.distribution = distribution
            return False
        near = [(self._distance(seen, distribution), i) for i, seen in enumerate(self.over)]
        distance, i = min(near, default=(torch.inf, -1))
        if i >= 0 and distance <= self._limit:
            back = self.over.pop(i)
            self._begin(Seen(distribution, back.label, None), back.picture)
        else:
            self._begin(Seen(distribution, self._new_label(), None))
        return True

    @property
    def _limit(self) -> float:
        return torch.inf if self.delta is None else self.delta

    def _distance(self, seen: Seen, distribution: Tensor) -> float:
        if seen.distribution.shape != distribution.shape:  # began without a key frame
            return torch.inf
        return jensen_shannon(seen.distribution, distribution)

    def _begin(self, seen: Seen, returned: Tensor | None = None) -> None:
        if self.current is not None:
            self.over = [self.current, *self.over][: self.memory]
        self.current, self.returned = seen, returned
        self.scene += 1

    def _new_label(self) -> int:
        self.labels += 1
        return self.labels - 1
