"""Features and positions of kept cells in vLLM's models.

Letters: T tubelets, h w cells, m merge side, G cells whose pixels the tower takes, L ids of a
prompt, E features of a token.
"""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from patchgate.serving.encoding import encode_video
from patchgate.serving.gating import given_cells, kept_cells
from patchgate.serving.positions import Shown
from patchgate.serving.settings import ServingSettings, settings_of
from patchgate.serving.vllm.tower import OverVllm


class GatedInput:
    """The pixels of a call's videos, as vLLM has parsed them, and what the gate says of them."""

    def __init__(
        self, parsed: Any, cells: Tensor, source: Tensor, turns: Tensor | None = None
    ) -> None:
        self.parsed = parsed
        self.cells = cells  # [T * h * w] of each video, one after the other, uint8
        self.source = source  # the same, int32
        self.turns = turns  # [T] of each video, int32; None: the gate has no memory

    def whole(self) -> bool:
        """Whether every cell is a token and has its pixels here."""
        return bool((kept_cells(self.cells) & given_cells(self.cells)).all())


class GatedModel:
    """What both models do; it comes before vLLM's own model class."""

    family: ClassVar[type[OverVllm]]
    config: Any
    visual: Any

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
        named = {"prefix": prefix} if prefix else {}
        super().__init__(vllm_config=vllm_config, **named)  # type: ignore[call-arg]
        self._settings = settings_of(vllm_config.model_config.hf_config)
        self._family: OverVllm | None = None

    # The tower.

    def get_encoder_cudagraph_config(self) -> Any:
        config = super().get_encoder_cudagraph_config()  # type: ignore[misc]
        if self._settings is not None:  # graphs replay whole grids
            config.modalities = [name for name in config.modalities if name != "video"]
        return config

    def _parse_and_validate_video_input(self, **kwargs: Any) -> Any:
        names = ("video_cells", "video_source", "video_turns")
        cells, source, turns = (kwargs.pop(name, None) for name in names)
        for name in ("video_words", "video_places"):
            kwargs.pop(name, None)
        parsed = super()._parse_and_validate_video_input(**kwargs)  # type: ignore[misc]
        return parsed if cells is None else GatedInput(parsed, cells, source, turns)

    def _process_video_input(self, video_input: Any) -> Sequence[Tensor]:
        if not isinstance(video_input, GatedInput):
            return super()._process_video_input(video_input)  # type: ignore[misc]
        if video_input.whole():  # what vLLM's own tower is best at
            return super()._process_video_input(video_input.parsed)  # type: ignore[misc]
        assert self._settings is not None
        if self._family is None:
            self._family = self.family(self.visual)
        return encode(self._family, video_input, self._settings)

    # Positions.

    def _shown(self, mm_features: Sequence[Any]) -> Iterator[Shown]:
        """Returns where the prompt's images and videos are, and which of their cells it shows."""
        side = int(self.config.vision_config.spatial_merge_size)
        for feature in mm_features:
            data, offset = feature.data, feature.mm_position.offset
            t, height, width = data[f"{feature.modality}_grid_thw"].data.tolist()
            shape = (t, height // side, width // side)
            if feature.modality == "image":
                yield Shown(offset, torch.ones(shape, dtype=torch.bool, device="cpu"))
                continue
            mask = kept_cells(data["video_cells"].data).view(shape)
            words, places = (
                data[name].data.tolist() if name in data else None
                for name in ("video_words", "video_places")
            )
            yield Shown(offset, mask, words, places)

    def _is_gated(self, mm_features: Sequence[Any]) -> bool:
        return any("video_cells" in each.data for each in mm_features)


def encode(family: OverVllm, given: GatedInput, settings: ServingSettings) -> list[Tensor]:
    """Encodes the kept cells of some videos, each as a clip of its own.

    Returns:
        The features of each video's tokens in order of frame and cell, ``[K, E]``: the tower's
        output and, of Qwen3-VL, that of each tapped layer behind it.
    """
    grids = given.parsed["video_grid_thw"].tolist()
    pixels = family.normalised(given.parsed["pixel_values_videos"])  # [G * m * m, C * f * P * P]
    each = settings.geometry.each
    features, row, cell, tubelet = [], 0, 0, 0
    for t, height, width in grids:
        count = t * height * width // each
        cells, source = (part[cell : cell + count] for part in (given.cells, given.source))
        turns = None if given.turns is None else given.turns[tubelet : tubelet + t]
        rows = int(given_cells(cells).sum()) * each
        taken, grid = pixels[row : row + rows], (t, height, width)
        features.append(encode_video(family, taken, cells, source, grid, settings, turns))
        row, cell, tubelet = row + rows, cell + count, tubelet + t
    return features
