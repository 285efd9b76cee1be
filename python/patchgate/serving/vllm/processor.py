"""Gates videos in vLLM's processor, which runs where prompts are made, beside the engine.

Letters: T tubelets, N cells of a frame, m merge side, G cells whose pixels the tower takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import VideoProcessorItems

from patchgate.serving.gating import (
    GatedVideo,
    Normalised,
    gate_video,
    given_cells,
    kept_cells,
    packed_turns,
    whole_video,
)
from patchgate.serving.settings import ServingSettings, names, settings_of
from patchgate.serving.streams import Streams
from patchgate.serving.times import (
    KEY,
    Beside,
    ChunkName,
    chunk_of,
    middle,
    not_a_requests,
    tubelet_times,
)
from patchgate.serving.vllm.metrics import report


class GatedProcessing:
    """What the processors of both models do; it comes before vLLM's own processor class."""

    info: Any

    @cached_property
    def settings(self) -> ServingSettings | None:
        """The server's settings; None: videos are not gated."""
        return settings_of(self.info.get_hf_config())

    @cached_property
    def streams(self) -> Streams:
        """The live streams of this process."""
        if self.settings is None:
            raise ValueError(
                "stream: this server does not gate videos, and keeps no streams; start it with "
                '--hf-overrides \'{"patchgate": {"context": "kept"}}\''
            )
        return Streams(self.settings)

    def apply(self, inputs: Any, timing_ctx: Any) -> Any:
        """Does what vLLM's processors do, but finds the streams to which videos belong first."""
        check_options(inputs.hf_processor_mm_kwargs)
        return super().apply(self._in_streams(inputs), timing_ctx)  # type: ignore[misc]

    def _in_streams(self, inputs: Any) -> Any:
        """Puts the names of chunks, which are a request's ``uuid`` of videos, into the metadata.

        vLLM then recognises a chunk by its pixels and its stream, not by the name alone, of which a
        stream that began anew would get the answers of an older one.
        """
        videos = inputs.mm_data_items.get("video")
        if not isinstance(videos, VideoProcessorItems):
            return inputs
        named = dict(inputs.mm_uuid_items or {})
        uuids = list(named.get("video") or [None] * len(videos.data))
        items = list(videos.data)
        found = False
        for at, (item, uuid) in enumerate(zip(items, uuids, strict=True)):
            chunk = _chunk(item, uuid)
            if chunk is None:
                continue
            found = True
            if item is None:
                raise ValueError(
                    f"stream {chunk.stream!r}: send the video of chunk {chunk.number}, too; it is "
                    "recognised by its pixels"
                )
            frames, known = item
            opened = self.streams.opened(chunk.stream, chunk.number)
            own = {**(known.get(KEY) or {}), **opened._asdict()}
            items[at], uuids[at] = (frames, {**known, KEY: own}), None
        if not found:
            return inputs
        others = type(inputs.mm_data_items)(inputs.mm_data_items)
        others["video"] = VideoProcessorItems(items, metadata=_metadata(items))
        return replace(inputs, mm_data_items=others, mm_uuid_items={**named, "video": uuids})

    def _apply_hf_processor_main(self, mm_items: Any, hf_kwargs: Mapping[str, object]) -> Any:
        mm_items, beside = taken(mm_items)
        data = super()._apply_hf_processor_main(mm_items, hf_kwargs)  # type: ignore[misc]
        if "pixel_values_videos" not in data:
            return data
        self._tell_times(data, beside)
        return data if self.settings is None else self._gated(data, beside, self.settings)

    def _tell_times(self, data: Any, beside: Sequence[Beside]) -> None:
        """Puts the true times of frames in the place of those that a frame rate gives."""

    def _delay(self, data: Any, number: int, seconds: float) -> None:
        """Adds the time at which a chunk begins to the times of a video."""

    def _describe(self, data: Any, videos: Sequence[GatedVideo], beside: Sequence[Beside]) -> None:
        """Adds the fields that the model's positions need."""
        raise NotImplementedError

    def _gated(self, data: Any, beside: Sequence[Beside], settings: ServingSettings) -> Any:
        """Keeps the rows that the tower computes, and what the gate says of every cell."""
        grids = [(int(t), int(h), int(w)) for t, h, w in data["video_grid_thw"]]
        counts = [t * height * width for t, height, width in grids]
        normalised = self._normalised() if data["pixel_values_videos"].is_floating_point() else None
        videos = []
        parts = data["pixel_values_videos"].split(counts)
        for number, (rows, grid, given) in enumerate(zip(parts, grids, beside, strict=True)):
            if given.keep_all:
                videos.append(whole_video(rows, settings.geometry))
                continue
            if given.chunk is None:
                video = gate_video(rows, grid, settings, normalised, given.seconds)
            else:
                chunk = self.streams.gated(given.chunk, rows, grid, given.seconds, normalised)
                video = chunk.video
                self._delay(data, number, chunk.start_seconds)
            videos.append(video)
            report(video, grid[0], len(rows))
        data["pixel_values_videos"] = torch.cat([video.rows for video in videos])
        data["video_cells"] = torch.cat([video.cells for video in videos])
        data["video_source"] = torch.cat([video.source for video in videos])
        if settings.gate.memory is not None:
            turns = [
                packed_turns((), grid[0]) if video.turns is None else video.turns
                for video, grid in zip(videos, grids, strict=True)
            ]
            data["video_turns"] = torch.cat(turns)
        self._describe(data, videos, beside)
        return data

    def _normalised(self) -> Normalised:
        processor = self.info.get_hf_processor().video_processor
        mean, std = tuple(processor.image_mean), tuple(processor.image_std)
        return Normalised(mean, std)

    def _get_mm_fields_config(
        self, hf_inputs: Any, hf_processor_mm_kwargs: Mapping[str, object]
    ) -> Mapping[str, Any]:
        own = super()._get_mm_fields_config(  # type: ignore[misc]
            hf_inputs, hf_processor_mm_kwargs
        )
        if "video_cells" not in hf_inputs:
            return own
        settings = self.settings
        assert settings is not None
        tubelets = hf_inputs["video_grid_thw"][:, 0]
        cells = hf_inputs["video_grid_thw"].prod(-1) // settings.geometry.each  # T * N of each
        given = [given_cells(part) for part in hf_inputs["video_cells"].split(cells.tolist())]
        rows = torch.stack([each.sum() for each in given]) * settings.geometry.each
        flat = MultiModalFieldConfig.flat_from_sizes
        fields = {
            "pixel_values_videos": flat("video", rows),
            "video_cells": flat("video", cells, keep_on_cpu=True),
            "video_source": flat("video", cells),
        }
        for name in ("video_words", "video_places", "video_turns"):
            if name in hf_inputs:
                fields[name] = flat("video", tubelets, keep_on_cpu=True)
        return {**own, **fields}


class GatedDummies:
    """Videos with which vLLM measures its memory keep everything, for they are all of one grey."""

    def _get_dummy_videos(self, **sizes: Any) -> list[Any]:
        videos = super()._get_dummy_videos(**sizes)  # type: ignore[misc]
        return [(frames, {**known, KEY: {"keep_all": True}}) for frames, known in videos]


def check_options(options: Mapping[str, Any]) -> None:
    """Raises a ``ValueError`` if a request's ``mm_processor_kwargs`` have settings of the gate."""
    scoped = options.get("videos_kwargs")
    given = {*options, *(scoped if isinstance(scoped, Mapping) else ())}
    if asked := sorted(given & {KEY, *names()}):
        raise ValueError(not_a_requests(asked))


def taken(mm_items: Any) -> tuple[Any, list[Beside]]:
    """Takes out of the videos' metadata what is not transformers'.

    Raises:
        TypeError, ValueError: see ``Beside.of``.
    """
    videos = mm_items.get("video")
    if not isinstance(videos, VideoProcessorItems):
        return mm_items, []
    left, beside = [], []
    for item in videos.data:
        frames, known = item
        pixels = getattr(frames, "media", frames)  # vLLM may hold the file's bytes beside them
        if not len(pixels):
            raise ValueError("video: expected at least one frame, got none")
        if len(pixels) == 1:  # transformers' processor of Qwen3-VL takes whole tubelets only
            frames = twice(pixels)
        beside.append(Beside.of(known.get(KEY), known.get("duration")))
        left.append((frames, {name: value for name, value in known.items() if name != KEY}))
    others = type(mm_items)(mm_items)
    others["video"] = VideoProcessorItems(left, metadata=_metadata(left))
    return others, beside


def twice(pixels: Any) -> Any:
    """Returns a video of one frame with this frame twice."""
    if isinstance(pixels, Tensor):
        return torch.cat([pixels, pixels])
    return np.repeat(np.asarray(pixels), 2, 0)


def _metadata(items: Sequence[Any]) -> list[Any]:
    return [None if item is None else item[1] for item in items]


def _chunk(item: Any, uuid: str | None) -> ChunkName | None:
    """Returns the name of a chunk that a request gives as ``uuid`` or in the metadata."""
    named = ChunkName.read(uuid)
    if named is not None or item is None:
        return named
    given = item[1].get(KEY)
    return chunk_of(given) if isinstance(given, Mapping) else None


def spoken_times(data: Any, beside: Sequence[Beside], frames: int) -> None:
    """Puts the middle of each tubelet's true times into ``timestamps``, where they are known."""
    for number, (given, grid) in enumerate(zip(beside, data["video_grid_thw"], strict=True)):
        if given.pts_seconds is not None:
            times = tubelet_times(given.pts_seconds, frames, int(grid[0]))
            data["timestamps"][number] = [middle(each) for each in times]


def counts_of(cells: Tensor, tubelets: int) -> list[int]:
    """Returns the number of tokens of each tubelet."""
    return kept_cells(cells).view(tubelets, -1).sum(1).tolist()
