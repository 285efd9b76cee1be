"""What a method keeps of a clip: our gate in any setting, and its peers.

Every method comes down to one question per cell and frame: static, moved or changed? A token is
a changed cell. ``Known`` shows what these tokens say the video looks like.

Letters: T frames, H W pixels, h w cells.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Protocol

import torch
from peers import rlt, top_k, uniform
from peers.pixels import by_pairs
from torch import Tensor

from patchgate import Gate, GateResult
from patchgate.colour import Matrix, yuv_to_rgb
from patchgate.gate import CHANGED, STATIC, GateSettings
from patchgate.report.adjacent import worst_errors

Encode = Callable[[Tensor], Tensor]
CELL = 16  # pixels: a patch of SigLIP base/16
PHASES = 3  # of uniform sampling, averaged


@dataclass(frozen=True)
class Trace:
    """What was kept of every frame."""

    kind: Tensor  # [T, h, w] uint8: 0 static, 1 moved, 2 changed, 4 returned
    motion: Tensor  # [T, h, w, 2] int8: (dy, dx) in steps to where a moved cell came from
    precision: int = field(default=1, kw_only=True)  # steps in a pixel: 1, 2 or 4
    result: GateResult | None = field(default=None, kw_only=True)  # of our gate: light and sources

    @classmethod
    def of(cls, keep: Tensor) -> "Trace":
        """The trace of a mask ``[T, h, w]`` of cells to keep; the others hold what was kept there
        last.
        """
        kind = torch.where(keep, CHANGED, STATIC).to(torch.uint8)
        return cls(kind, torch.zeros((*keep.shape, 2), dtype=torch.int8))

    @property
    def tokens(self) -> int:
        """Cells that were kept."""
        return int((self.kind == CHANGED).sum())


class Seen:
    """A clip as methods see it, a ``peers.Clip``; what several of them need is computed once.

    Args:
        planes: ``[T, 3, H, W]`` uint8 Y, Cb, Cr of full range.
        fps: frames per second.
        matrix: of the planes.
        encode: a dense tower, uint8 RGB ``[T, 3, H, W]`` to ``[T, N, D]``, for methods after it.
    """

    patch = CELL

    def __init__(
        self, planes: Tensor, fps: int, matrix: Matrix, encode: Encode | None = None
    ) -> None:
        self.planes, self.fps, self.matrix, self._encode = planes, fps, matrix, encode

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(T, h, w)``."""
        frames, _, height, width = self.planes.shape
        return frames, height // CELL, width // CELL

    @property
    def luma(self) -> Tensor:
        """``[T, H, W]`` uint8."""
        return self.planes[:, 0]

    @cached_property
    def rgb(self) -> Tensor:
        """``[T, 3, H, W]`` uint8."""
        return torch.stack([yuv_to_rgb(frame, self.matrix) for frame in self.planes])

    @cached_property
    def features(self) -> Tensor:
        """``[T, N, D]`` of the dense tower."""
        if self._encode is None:
            raise ValueError("features: this clip was given no tower")
        return self._encode(self.rgb)

    @cached_property
    def mean_differences(self) -> Tensor:
        """``[T, h, w]``, in units of normalised RGB."""
        return rlt.differences(self.rgb, CELL)

    @cached_property
    def largest_differences(self) -> Tensor:
        """``[T, h, w]``, in grey levels, of sub-blocks as our default has them."""
        gate = Gate(patch=CELL)

        def of(chunk: Tensor) -> Tensor:
            errors = worst_errors(chunk[1:, None], chunk[:-1, None], gate)  # one frame a tubelet
            return errors / gate.settings.sub_block**2

        return by_pairs(self.planes, of)

    @cached_property
    def our_tokens(self) -> int:
        """What our default keeps."""
        return Ours().traces(self)[0].tokens


class Method(Protocol):
    """One way of thinning a video."""

    @property
    def family(self) -> str: ...

    @property
    def setting(self) -> str:
        """Unique in its family."""
        ...

    def traces(self, seen: Seen) -> list[Trace]:
        """One trace, or several of equal weight where chance has a say in the sampling."""
        ...


@dataclass(frozen=True)
class Ours:
    """Our gate, with changes to its default settings."""

    changes: tuple[tuple[str, Any], ...] = ()
    family = "patchgate"

    @property
    def setting(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.changes) or "default"

    @property
    def settings(self) -> dict[str, Any]:
        """All arguments of the gate on 16 px cells."""
        return {**asdict(GateSettings(patch=CELL)), **dict(self.changes)}

    def traces(self, seen: Seen) -> list[Trace]:
        gate = Gate(**self.settings)
        result = gate.push(seen.planes)
        precision = gate.settings.motion_precision
        return [Trace(result.kind, result.motion, precision=precision, result=result)]


@dataclass(frozen=True)
class Adjacent:
    """The textbook gate with RLT's test: the mean difference of the normalised patch."""

    tau: float
    family = "adjacent"

    @property
    def setting(self) -> str:
        return f"tau={self.tau:g}"

    def traces(self, seen: Seen) -> list[Trace]:
        return [Trace.of(seen.mean_differences > self.tau)]


@dataclass(frozen=True)
class AdjacentSubBlocks:
    """The same with our test: the worst sub-block of any plane, in grey levels."""

    threshold: float
    family = "adjacent, sub-blocks"

    @property
    def setting(self) -> str:
        return f"threshold={self.threshold:g}"

    def traces(self, seen: Seen) -> list[Trace]:
        return [Trace.of(seen.largest_differences > self.threshold)]


@dataclass(frozen=True)
class TopK:
    """The cells of largest difference, as many as our default keeps on the clip times a factor."""

    factor: float = 1.0
    family = "top-k"

    @property
    def setting(self) -> str:
        return f"{self.factor:g} x our tokens"

    def traces(self, seen: Seen) -> list[Trace]:
        differences = seen.mean_differences
        wanted = max(round(self.factor * seen.our_tokens), differences[0].numel())
        return [Trace.of(top_k.keep_mask(differences, min(wanted, differences.numel())))]


@dataclass(frozen=True)
class Uniform:
    """Whole frames at a fixed rate, in several phases."""

    rate: int
    family = "uniform"

    @property
    def setting(self) -> str:
        return f"{self.rate} fps"

    def traces(self, seen: Seen) -> list[Trace]:
        frames, _, height, width = seen.planes.shape
        keep = torch.zeros((PHASES, frames, height // CELL, width // CELL), dtype=torch.bool)
        for phase in range(PHASES):
            sampled = uniform.sampled_frames(frames, seen.fps, self.rate, phase, PHASES)
            keep[phase, sampled] = True
        return [Trace.of(mask) for mask in keep]


@dataclass(frozen=True)
class Dense:
    """Every cell of every frame: what the reader can do at all."""

    family = "dense"
    setting = "every frame"

    def traces(self, seen: Seen) -> list[Trace]:
        frames, _, height, width = seen.planes.shape
        return [Trace.of(torch.ones((frames, height // CELL, width // CELL), dtype=torch.bool))]


def ours(**changes: Any) -> Ours:
    """Our gate with some settings changed."""
    return Ours(tuple(changes.items()))


# A factor of 1.26 (a third of an octave) from half a grey level to 32: fine enough to tune by.
SWEEP = tuple(round(0.5 * 2 ** (step / 3), 2) for step in range(19))
_GREY = 0.0175  # tau of one grey level: 1 / (255 * ImageNet's mean standard deviation)
THRESHOLDS = (1, 2, 3, 6, 8, 12)  # beside the default

RULES = (ours(illumination="global"), ours(memory=4))  # for light, and for pictures that return
OURS: tuple[Ours, ...] = (
    ours(),
    *(ours(threshold=value) for value in THRESHOLDS),
    ours(sub_blocks=1),
    *(ours(sub_blocks=4, threshold=value) for value in (4, 8, 12, 16)),
    *(ours(sub_blocks=8, threshold=value) for value in (16, 24)),
    ours(on_motion="encode"),
    ours(on_motion="reuse"),
    ours(search_radius=0),
    ours(search_radius=16),
    ours(hysteresis=0.5),
    ours(hysteresis=0.5, threshold=8),
    ours(noise="adaptive"),
    *RULES,
)
PEERS: tuple[Method, ...] = (
    Adjacent(0.1),  # RLT's own
    *(Adjacent(round(level * _GREY, 4)) for level in SWEEP),
    *(AdjacentSubBlocks(level) for level in SWEEP),
    *(TopK(factor) for factor in (0.5, 1.0, 2.0, 4.0)),
    *(Uniform(rate) for rate in (1, 2, 5, 10, 15, 30)),
)
# In the order of tables and legends.
FAMILIES = tuple(dict.fromkeys(method.family for method in (Dense(), *OURS, *PEERS)))
# For readers that are slow: our thresholds, every third of the sweep, and the peers' own settings.
COARSE: frozenset[Method] = frozenset({
    Dense(), ours(), *(ours(threshold=value) for value in THRESHOLDS),
    ours(sub_blocks=4, threshold=12), ours(on_motion="encode"), ours(hysteresis=0.5), *RULES,
    Adjacent(0.1), *(Adjacent(round(level * _GREY, 4)) for level in SWEEP[::3]),
    *(TopK(factor) for factor in (0.5, 1.0, 2.0)), *(Uniform(rate) for rate in (1, 2, 5, 10)),
})  # fmt: skip
FEW: tuple[Method, ...] = (ours(), ours(threshold=8), Adjacent(0.1), TopK(), Uniform(2))
