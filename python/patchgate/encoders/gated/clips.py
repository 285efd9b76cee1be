"""``gated`` for video towers with attention over space and time.

Letters: B clips, T tubelets, f frames of a tubelet, C channels, H W pixels, h w cells, K kept cells
of a clip, P patch side, D features.
"""

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from patchgate import _ops
from patchgate._check import TRANSFORMERS, check_transformers
from patchgate._check.text import nearest_first
from patchgate.encoders.families import structure
from patchgate.encoders.families.space_time import SpaceTimeTower, VideoMae, VJepa2
from patchgate.encoders.gated.outside import outside_graphs
from patchgate.encoders.gated.pixels import gate_planes
from patchgate.encoders.gated.stand_in import StandIn
from patchgate.encoders.patch_grid import PatchGrid
from patchgate.encoders.run.work import Work
from patchgate.gate import GateSettings
from patchgate.gate.run import gate_clip
from patchgate.gather import PixelSpec
from patchgate.gather.pixel_spec import Triple
from patchgate.gather.resize import Keep


class GatedClips(StandIn):
    """A video model that computes only the cells that changed within each clip.

    It can take the place of its model in a larger one: it has the same parameters under the same
    names.
    """

    gate_settings: GateSettings
    last_work: Work | None  # the cells that the last call kept, and its operations

    def __init__(
        self, tower: SpaceTimeTower, mean: Triple, std: Triple, settings: GateSettings
    ) -> None:
        super().__init__(tower.model)
        self.mean, self.std, self.gate_settings, self.last_work = mean, std, settings, None
        self._tower = tower

    @outside_graphs
    def forward(
        self,
        pixel_values_videos: Tensor | None = None,
        pixel_values: Tensor | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """Encodes clips independently of each other.

        Args:
            pixel_values_videos: ``[B, T * f, 3, H, W]`` float, as the processor makes them
                (VideoMAE has them as ``pixel_values``).
            return_dict: False returns a tuple, as in transformers.
            options: nothing else is supported; None and False are accepted.

        Returns:
            The model's ``BaseModelOutput``. Its ``last_hidden_state`` ``[B, T * h * w, D]`` has the
            features of each cell's source token. The call synchronises.

        Raises:
            TypeError: the pixel values are not floats, or an option is not supported.
            ValueError: shapes, devices or values do not fit.
        """
        from transformers.modeling_outputs import BaseModelOutput  # only where it is

        unknown = sorted(name for name, value in options.items() if value not in (None, False))
        if unknown:
            raise TypeError(f"a gated space-time tower does not take {', '.join(unknown)}")
        self._tower.check_calls()
        given = pixel_values if pixel_values_videos is None else pixel_values_videos
        shown, works = zip(*(self._encode(clip) for clip in self._checked(given)), strict=True)
        output = BaseModelOutput(last_hidden_state=torch.stack(shown))
        self.last_work = Work.total(works)
        return output.to_tuple() if return_dict is False else output

    def extra_repr(self) -> str:
        return f"{type(self.tower).__name__}, {self.gate_settings}"

    def _encode(self, clip: Tensor) -> tuple[Tensor, Work]:
        """Encodes a clip ``[T * f, C, H, W]``; returns every cell's features ``[T * h * w, D]``."""
        grid = self._tower.grid(*clip.shape[2:])
        result = gate_clip(gate_planes(clip, self.mean, self.std), self.gate_settings)
        index, _, count = _ops.compact(result.kind, result.kind.numel())
        index = index[: int(count)]
        features = self._tower.encode(grid.rows(clip, index), index)
        work = _work(self._tower, result.kind.flatten(1).shape, index, grid)
        return _ops.expand(features, result.source.flatten()), work

    def _checked(self, clips: Any) -> Tensor:
        if not isinstance(clips, Tensor) or not clips.is_floating_point():
            came = clips.dtype if isinstance(clips, Tensor) else type(clips).__name__
            raise TypeError(f"pixel values: expected normalised floats, got {came}")
        if clips.dim() != 5 or clips.shape[2] != 3 or not clips.numel():
            raise ValueError(f"pixel values: expected [B, T, 3, H, W], got {list(clips.shape)}")
        f = self._tower.temporal_patch
        if clips.shape[1] % f:
            raise ValueError(
                f"pixel values: expected whole tubelets of {f} frames, got {clips.shape[1]} frames"
            )
        weight = self._tower.weight
        if clips.device != weight.device:
            raise ValueError(
                f"pixel values: the tower is on {weight.device}, got a tensor on {clips.device}"
            )
        self._tower.check_shape(list(clips.shape[1:]))
        return clips


def _work(tower: SpaceTimeTower, shape: torch.Size, index: Tensor, grid: PatchGrid) -> Work:
    """Counts the work of a clip of ``[T, h * w]`` cells, of which those in ``index`` were kept."""
    patch, d = 2.0 * tower.weight.numel(), tower.weight.shape[0]
    layers = [structure.linear_flops(layer) for layer in tower.layers]

    def flops(tokens: int) -> float:
        return tokens * patch + sum(tokens * each + 4.0 * d * tokens**2 for each in layers)

    cells, kept = shape.numel(), len(index)
    encoded = len((index // shape[1]).unique())
    return Work(shape[0], encoded, cells, kept, flops(cells), flops(kept))


SPACE_TIME: tuple[type[SpaceTimeTower], ...] = (VJepa2, VideoMae)


def is_space_time(model: Any) -> bool:
    """Whether ``gated_clips`` supports a model."""
    classes = {base.__name__ for base in type(model).__mro__}
    return any(classes & set(family.names) for family in SPACE_TIME)


def gated_clips(
    model: nn.Module,
    processor: Any = None,
    *,
    mean: Any = None,
    std: Any = None,
    context: str = "full",
    **settings: Any,
) -> GatedClips:
    """Wraps a video model so that it computes only the cells that changed within each clip.

    Args:
        model: a ``VideoMAEModel``, or the ``VJEPA2Encoder`` of a V-JEPA 2 model
            (``model.encoder = gated(model.encoder, ...)``). It is not changed.
        processor: the model's transformers processor, or a ``PixelSpec``. Its mean and standard
            deviation bring pixel values back to 8 bit.
        mean, std: one number per channel, instead of a processor.
        context: only ``"kept"``: kept cells attend to all kept cells of their clip.
        settings: settings of the gate, such as ``threshold``: see ``Gate``. Patch and tubelet are
            the model's.

    Returns:
        A ``GatedClips``.

    Raises:
        ImportError: transformers is too old.
        TypeError: the model is not supported, or the gate has no such setting.
        ValueError: ``context="full"``; no mean and std; sizes that do not fit the model.

    Source: ``"kept"`` is the context of RLT (arXiv 2411.05222); the gate is in docs/gate.md.
    """
    check_transformers("tower", model, TRANSFORMERS)
    if context != "kept":
        raise ValueError(
            "context: this tower attends over space and time, so that a changed cell of one frame "
            "changes the features of all cells of all frames, and none can be reused; expected "
            f'context="kept", got {context!r}'
        )
    classes = [base.__name__ for base in type(model).__mro__]
    for family in SPACE_TIME:
        if any(name in family.names for name in classes):
            tower = family(model)
            tower.check_dtype()
            tower.check_calls()
            gate = _gate_settings(tower, settings)
            return GatedClips(tower, *_normalisation(processor, mean, std), gate)
    known = ", ".join(name for family in SPACE_TIME for name in family.names)
    raise TypeError(f"tower: {type(model).__name__} is not supported; supported are {known}")


def _gate_settings(tower: SpaceTimeTower, given: dict[str, Any]) -> GateSettings:
    """Makes the gate's settings: sizes from the tower, everything else from the user."""
    known = [each.name for each in fields(GateSettings)]
    own = {"patch": tower.patch, "merge": 1, "temporal_patch": tower.temporal_patch, "size": None}
    # The processor has resized the frames already; a fit would be silently ignored.
    fixed = {**own, "fit": "stretch"}
    for name, value in given.items():
        if name not in known:
            listed = ", ".join(nearest_first(name, [each for each in known if each not in fixed]))
            raise TypeError(f"gated: expected settings of {listed}, got {name!r}")
        if name in fixed and value != fixed[name]:
            raise ValueError(
                f"{name}: the tower has {name}={fixed[name]}, got {value}; leave it out"
            )
    return GateSettings(**{**given, **own})


def _normalisation(processor: Any, mean: Any, std: Any) -> tuple[Triple, Triple]:
    """Returns mean and standard deviation, checked by a ``PixelSpec``."""
    if (processor is None) == (mean is None and std is None):
        came = "neither" if processor is None else "both"
        raise ValueError(
            f"gated: expected a processor or mean= and std=, got {came}: they bring pixel values "
            "back to the 8 bit that the gate compares"
        )
    if isinstance(processor, PixelSpec):
        return processor.mean, processor.std
    if processor is not None:
        for flag in ("do_rescale", "do_normalize"):
            if not getattr(processor, flag, False):
                raise ValueError(f"processor: expected one with {flag}=True; pass mean= and std=")
        if abs(255 * processor.rescale_factor - 1) > 1e-3:
            raise ValueError(
                f"processor: expected one that rescales by 1/255, got {processor.rescale_factor}"
            )
        mean, std = processor.image_mean, processor.image_std
    if mean is None or std is None:
        raise ValueError("gated: expected both mean= and std=, got one of them")
    mean, std = (x.tolist() if isinstance(x, Tensor) else x for x in (mean, std))
    spec = PixelSpec(Keep(), mean, std, 1)
    return spec.mean, spec.std
