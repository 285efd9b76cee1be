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

KEY_SHARE = 0.8  # a key frame has tokens of its own in more than this share of its cells


class Scenes(NamedTuple):
    """The scenes of a video."""

    start: Tensor  # [S] int64: the frame that each begins with
    label: Tensor  # [S] int64: scenes of one label are one semantic scene
    of_frame: Tensor  # [T] int64: the scene that each frame belongs to


def scenes(
    tokens: VideoTokens, head: Head | None = None, delta: float | None = DELTA, memory: int = 4
) -> Scenes:
    """Cuts a video at the key frames that look unlike the scene before them.

    A key frame is the first frame, and every frame in which more than four fifths of the cells have
    tokens of their own, or had before these were merged (so has a frame at which the gate cuts). If
    the Jensen-Shannon divergence of its distribution from that of the key frame before is at most
    ``delta``, the scene goes on. Otherwise a scene begins. It belongs to the semantic scene of the
    closest of the last ``memory`` other scenes, if that one is within ``delta``, or to a new one.

    Args:
        tokens: tokens with any features. A merged one represents all cells of its members.
        head: a function from the mean feature ``[D]`` to the logits ``[V]`` of its distribution,
            such as a language model's, as in the paper. None: the logits are the mean feature
            itself, normalised to mean 0 and variance 1 over its D numbers. This needs no weights,
            and distinguishes scenes as far as their means differ.
        delta: nats, 0 to log 2. None: no cuts.
        memory: the number of earlier scenes that are compared.

    Raises:
        ValueError, TypeError: numbers are out of range, or features are not finite.

    Source: semantic-scene merging of GRT (arXiv 2509.14199).
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
    """Computes the divergence of two distributions ``[V]`` in nats, 0 to log 2 (J. Lin, 1991)."""
    middle = (p + q) / 2
    return float(sum(torch.xlogy(x, x / middle).nansum() for x in (p, q)) / 2)


class Step(NamedTuple):
    """The scene of a frame."""

    scene: int
    label: int
    begins: bool  # whether a scene begins with it
    returned: Tensor | None  # [h, w]: what the semantic scene showed when it was last seen


@dataclass
class Seen:
    """A scene that is over."""

    distribution: Tensor  # [V]
    label: int
    picture: Tensor | None  # [h, w]: the tokens that it showed last


@dataclass
class SceneTracker:
    """Follows a video's scenes, some frames at a time. Its memory is bounded."""

    delta: float | None
    memory: int
    head: Head | None = None
    current: Seen | None = None
    over: list[Seen] = field(default_factory=list)  # scenes that are over, the last one first
    returned: Tensor | None = None  # ``Step.returned`` of the current scene
    scene: int = -1
    labels: int = 0  # the number of semantic scenes so far

    def follow(
        self,
        features: Tensor,  # [K, D]
        kind: Tensor,  # [T, h, w]
        source: Tensor,  # [T, h, w]
        names: Tensor,  # [T, h, w]
        dtype: torch.dtype,
    ) -> list[Step]:
        """Follows the next frames, and returns the scene of each.

        Args:
            features: ``[K, D]``.
            kind: ``[T, h, w]``.
            source: ``[T, h, w]``, rows of the features; negative: the token is not available.
            names: ``[T, h, w]``, the same tokens in the numbers of ``returned`` pictures.
            dtype: the dtype in which the features came; a head gets their mean in it.
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
            elif begins:  # a slice may begin in the middle of a scene
                self._begin(Seen(features.new_zeros(0).double(), self._new_label(), None))
            assert self.current is not None
            self.current.picture = picture
            steps.append(Step(self.scene, self.current.label, begins, self.returned))
        return steps

    def copy(self) -> Self:
        """Returns a copy; what it follows does not change this one."""
        current = None if self.current is None else replace(self.current)
        return replace(self, current=current, over=list(self.over))

    def pictures(self) -> list[Tensor]:
        """Returns what scenes that are over showed last, ``[h, w]`` each, if it is remembered."""
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
        if seen.distribution.shape != distribution.shape:  # the scene began without a key frame
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
