"""Video towers whose every token attends to those of all frames of its clip.

Letters: B clips, T tubelets, f frames of a tubelet, C channels, H W pixels, h w cells, K kept cells
of a clip, P patch side, D features.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from patchgate import _ops
from patchgate.encoders import structure
from patchgate.encoders.adapted import Adapted
from patchgate.encoders.patch_grid import PatchGrid
from patchgate.encoders.pixels import gate_planes
from patchgate.encoders.projection import base
from patchgate.encoders.stand_in import StandIn
from patchgate.encoders.work import Work
from patchgate.gate import Gate, GateSettings
from patchgate.gather.pixel_spec import Triple


class SpaceTimeTower(Adapted, ABC):
    """A family of such towers, seen through its own submodules."""

    parts: ClassVar[tuple[str, ...]]  # attributes that the family's own code uses

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        structure.check_parts(model, self.parts)
        self.check_patches()

    @property
    @abstractmethod
    def layers(self) -> Iterable[nn.Module]:
        """All of the same work."""

    @abstractmethod
    def check_shape(self, shape: list[int]) -> None:
        """Raises a ``ValueError`` if a clip of whole tubelets ``[T * f, C, H, W]`` does not fit."""

    @abstractmethod
    def encode(self, rows: Tensor, index: Tensor) -> Tensor:
        """Kept patches of one clip ``[K, C * f * P * P]`` to the tower's output, ``[K, D]``.

        Args:
            index: ``[K]`` int64, flat over ``[T, h, w]``.
        """

    @property
    def patch(self) -> int:
        """P."""
        return int(self.weight.shape[3])

    @property
    def temporal_patch(self) -> int:
        """f."""
        return int(self.weight.shape[2])

    def grid(self, height: int, width: int) -> PatchGrid:
        """Of frames of this size."""
        p = self.patch
        if height % p or width % p:
            raise ValueError(f"pixel values: {height} x {width} pixels are no whole patches of {p}")
        return PatchGrid(height // p, width // p, 1, p, self.temporal_patch)

    def check_patches(self) -> None:
        """Raises a ``ValueError`` if the convolution does not cut RGB into patches side by side."""
        shape, stride = list(self.weight.shape), tuple(base(self.projection).stride)
        if shape[1] != 3 or shape[3] != shape[4] or stride != tuple(shape[2:]):
            raise ValueError(
                f"tower: expected square patches of RGB side by side, got a weight of {shape} and "
                f"stride={stride}"
            )


class GatedClips(StandIn):
    """A space-time tower that computes only what changed within each clip. In place of its tower in
    a larger model, it has the same parameters under the same names.
    """

    gate_settings: GateSettings
    last_work: Work | None  # what the last call kept and computed

    def __init__(
        self, family: SpaceTimeTower, mean: Triple, std: Triple, settings: GateSettings
    ) -> None:
        super().__init__(family.model)
        self.mean, self.std, self.gate_settings, self.last_work = mean, std, settings, None
        self._family = family

    def forward(
        self,
        pixel_values_videos: Tensor | None = None,
        pixel_values: Tensor | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """Clips that know nothing of each other.

        Args:
            pixel_values_videos: ``[B, T * f, 3, H, W]`` float, as the processor makes them
                (VideoMAE has them as ``pixel_values``).
            return_dict: False: a tuple, as in transformers.

        Returns:
            The tower's ``BaseModelOutput``: ``last_hidden_state`` ``[B, T * h * w, D]`` shows at
            each cell its source token's features.

        Raises:
            TypeError: pixel values that are not floats; options that a packed tower lacks.
            ValueError: shapes, devices or values that do not fit.
        """
        from transformers.modeling_outputs import BaseModelOutput  # only where it is

        unknown = sorted(name for name, value in options.items() if value not in (None, False))
        if unknown:
            raise TypeError(f"a gated space-time tower does not take {', '.join(unknown)}")
        self._family.check_calls()
        given = pixel_values if pixel_values_videos is None else pixel_values_videos
        shown, works = zip(*(self._encode(clip) for clip in self._checked(given)), strict=True)
        output = BaseModelOutput(last_hidden_state=torch.stack(shown))
        self.last_work = Work.total(works)
        return output.to_tuple() if return_dict is False else output

    def extra_repr(self) -> str:
        return f"{type(self.tower).__name__}, {self.gate_settings}"

    def _encode(self, clip: Tensor) -> tuple[Tensor, Work]:
        """One clip ``[T * f, C, H, W]``: every cell's features ``[T * h * w, D]``."""
        grid = self._family.grid(*clip.shape[2:])
        result = Gate.of(self.gate_settings).push(gate_planes(clip, self.mean, self.std))
        index, _, count = _ops.compact(result.kind, result.kind.numel())
        index = index[: int(count)]
        features = self._family.encode(grid.rows(clip, index), index)
        work = _work(self._family, result.kind.flatten(1).shape, index, grid)
        return _ops.expand(features, result.source.flatten()), work

    def _checked(self, clips: Any) -> Tensor:
        if not isinstance(clips, Tensor) or not clips.is_floating_point():
            came = clips.dtype if isinstance(clips, Tensor) else type(clips).__name__
            raise TypeError(f"pixel values: expected normalised floats, got {came}")
        if clips.dim() != 5 or clips.shape[2] != 3 or not clips.numel():
            raise ValueError(f"pixel values: expected [B, T, 3, H, W], got {list(clips.shape)}")
        f = self._family.temporal_patch
        if clips.shape[1] % f:
            raise ValueError(
                f"pixel values: expected whole tubelets of {f} frames, got {clips.shape[1]} frames"
            )
        weight = self._family.weight
        if clips.device != weight.device:
            raise ValueError(
                f"pixel values: the tower is on {weight.device}, got a tensor on {clips.device}"
            )
        self._family.check_shape(list(clips.shape[1:]))
        return clips


def _work(family: SpaceTimeTower, shape: torch.Size, index: Tensor, grid: PatchGrid) -> Work:
    """Of a clip of ``[T, h * w]`` cells, of which some were kept."""
    patch, d = 2.0 * family.weight.numel(), family.weight.shape[0]
    layers = [structure.linear_flops(layer) for layer in family.layers]

    def flops(tokens: int) -> float:
        return tokens * patch + sum(tokens * each + 4.0 * d * tokens**2 for each in layers)

    cells, kept = shape.numel(), len(index)
    encoded = len((index // shape[1]).unique())
    return Work(shape[0], encoded, cells, kept, flops(cells), flops(kept))
