"""SGLang's processor of Qwen3-VL and Qwen2.5-VL, whose videos are gated.

It encodes kept cells where prompts are made, with a tower of its own, and hands SGLang what that
takes of any processor: precomputed embeddings, their places in the prompt, positions, padded ids.

Letters: T tubelets, h w cells, K tokens, E features of a token, L ids of a prompt.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from sglang.srt.managers.schedule_batch import Modality, MultimodalDataItem
from sglang.srt.models.qwen2_5_vl import Qwen2_5_VLForConditionalGeneration
from sglang.srt.models.qwen3_vl import Qwen3VLForConditionalGeneration
from sglang.srt.multimodal.processors.qwen_vl import QwenVLImageProcessor
from sglang.srt.runtime_context import get_disagg
from sglang.srt.utils.common import CLIENT_MEDIA_EXCEPTIONS, VideoData, get_video_bytes

from patchgate.encoders.tower import Tower
from patchgate.serving.encoding import encode_video
from patchgate.serving.frames import Frames, check_sampling, read_frames
from patchgate.serving.gating import Normalised, gate_video, kept_cells
from patchgate.serving.positions import Shown, clock_places, qwen3_positions, qwen25_positions
from patchgate.serving.prompt import Expanded, Run, expanded, plain_run, spoken_run
from patchgate.serving.settings import ServingSettings, names, settings_of
from patchgate.serving.sglang import SUPPORTED
from patchgate.serving.sglang.tower import load_tower
from patchgate.serving.sglang.video import Video
from patchgate.serving.times import Beside, middle, not_a_requests, tubelet_times

LOG = logging.getLogger("sglang.patchgate")
_FPS = 2.0  # frames a second that SGLang looks at if nobody says another rate
_OPTIONS = ("fps", "nframes", "start", "end", "size")  # of --mm-process-config

if version("sglang") not in SUPPORTED:  # SGLang says so in a warning, and goes on without the gate
    raise ImportError(
        f"patchgate supports SGLang {', '.join(SUPPORTED)}, this is {version('sglang')}: videos "
        f"are not gated; pip install 'sglang=={SUPPORTED[-1]}'"
    )


class Asked(dict[str, Any]):
    """A video of a request. It is a dict, because SGLang's loaders leave dicts as they are."""

    def read(self) -> "Asked":
        """Decodes the video, or reads the features that came in its place."""
        data = self["data"]
        if isinstance(data, Mapping):
            try:
                return Asked(video=Video.of_item(data))
            except TypeError as error:  # SGLang tells a client of a ValueError only
                raise ValueError(str(error)) from error
        if not isinstance(data, str | bytes | VideoData):
            raise ValueError(
                "video: expected a file or its address, whose frames have times, or what "
                f"patchgate.serving.sglang.video.video_data makes, got {type(data).__name__}"
            )
        if asked := sorted({*(getattr(data, "preprocess_kwargs", None) or ())} & set(names())):
            raise ValueError(not_a_requests(asked))
        try:
            file = get_video_bytes(data)
        except CLIENT_MEDIA_EXCEPTIONS as error:
            raise ValueError(f"video: it could not be fetched: {error}") from error
        return Asked(frames=read_frames(file, **self["options"]))


class GatedQwen(QwenVLImageProcessor):
    """SGLang's own; if the model's configuration says so, its videos are gated."""

    models = [Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration]  # noqa: RUF012

    def __init__(
        self, hf_config: Any, server_args: Any, _processor: Any, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(hf_config, server_args, _processor, *args, **kwargs)
        self.settings = settings_of(hf_config)
        self._options, self._size = self._sampling()
        self._loading = threading.Lock()
        self._tower: Tower | None = None
        said = "no video is gated: config.patchgate has no settings"
        if self.settings is not None:
            if get_disagg().language_only:
                raise ValueError(
                    "config.patchgate: --language-only cannot go with the gate: another server "
                    "encodes videos then, past the gate; leave it out"
                )
            said = f"videos are gated: {self.settings}"
        LOG.info("patchgate %s: %s", version("patchgate"), said)

    def _sampling(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads which frames the server looks at, and at which size."""
        given = dict(self.video_config)
        if self.settings is None:
            return {}, {}
        if unknown := sorted(set(given) - set(_OPTIONS)):
            raise ValueError(
                f"--mm-process-config: with the gate, video takes {', '.join(_OPTIONS)}, got "
                f"{', '.join(unknown)}"
            )
        size = {"size": given.pop("size")} if "size" in given else {}
        count = given.pop("nframes", None)
        rate = given.pop("fps", _FPS if count is None else None)
        options = {"fps": rate, "num_frames": count, **given}
        check_sampling(**options)
        return options, size

    async def load_mm_data(
        self, prompt: Any, multimodal_tokens: Any, image_data: Any = None, video_data: Any = None,
        **more: Any,
    ) -> Any:  # fmt: skip
        """Loads a request's media as SGLang does, but reads its videos with true times."""
        gated = self.settings is not None and bool(video_data)
        if gated:
            video_data = [Asked(data=each, options=self._options) for each in video_data]
        loaded = await super().load_mm_data(
            prompt, multimodal_tokens, image_data=image_data, video_data=video_data, **more
        )
        if gated and len(loaded.videos or ()) != len(video_data):  # SGLang drops some in silence
            raise ValueError(
                f"prompt: expected a placeholder for each of the request's {len(video_data)} "
                f"videos, got {len(loaded.videos or ())}"
            )
        return loaded

    @classmethod
    def _load_single_item(cls, data: Any, modality: Any, *args: Any, **more: Any) -> Any:
        if isinstance(data, Asked):
            return data.read()
        return super()._load_single_item(data, modality, *args, **more)

    def process_and_combine_mm_data(
        self, base_output: Any, mm_tokens: Any, processor: Any = None, **more: Any
    ) -> Any:
        """Does what SGLang's does; videos become kept features, in the prompt and beside it."""
        settings = self.settings
        if settings is None or not base_output.videos:
            return super().process_and_combine_mm_data(base_output, mm_tokens, processor, **more)
        own = self._processor if processor is None else processor
        videos = [
            each["video"] if "video" in each else self._gated(each["frames"], own, settings)
            for each in base_output.videos
        ]
        rest = replace(base_output, videos=[])
        items, ids, ret = super().process_and_combine_mm_data(rest, mm_tokens, processor)
        words = [self._words(video, own.tokenizer) for video in videos]
        runs = [self._run(video, each) for video, each in zip(videos, words, strict=True)]
        prompt = expanded(ids.flatten().tolist(), self.VIDEO_TOKEN_ID, runs)
        for item in items:
            item.offsets = [(prompt.moved[a], prompt.moved[b]) for a, b in item.offsets]
        shown = [_image(item, self.spatial_merge_size) for item in items]
        shown += self._shown(videos, words, prompt.begins)
        places, delta = self._places(prompt, shown)
        items += [_item(v, r, at) for v, r, at in zip(videos, runs, prompt.begins, strict=True)]
        for item in items:  # SGLang makes padded ids where every item has its padding
            item.set_pad_value()
        found = {"mrope_positions": places, "mrope_position_delta": torch.tensor([[delta]])}
        return items, torch.tensor(prompt.ids), {**(ret or {}), **found}

    # One video.

    def _gated(self, frames: Frames, processor: Any, settings: ServingSettings) -> Video:
        """Gates a video's frames, and encodes what is kept."""
        own = processor.video_processor
        rgb = torch.from_numpy(frames.rgb).permute(0, 3, 1, 2)  # [T * f, 3, H, W]
        if len(rgb) == 1:  # transformers' processor of Qwen3-VL takes whole tubelets only
            rgb = rgb.expand(2, -1, -1, -1)
        given = own(videos=[rgb], do_sample_frames=False, return_tensors="pt", **self._size)
        rows = given["pixel_values_videos"]
        tubelets, height, width = (int(each) for each in given["video_grid_thw"][0])
        grid = (tubelets, height, width)
        normalised = Normalised(tuple(own.image_mean), tuple(own.image_std))
        beside = Beside.of({"pts_seconds": frames.pts_seconds}, frames.duration_seconds)
        video = gate_video(rows, grid, settings, normalised, beside.seconds)
        LOG.info(video.said(tubelets, len(rows)))
        tower = self._loaded()
        with torch.inference_mode():
            pixels = video.rows.to(tower.weight.device, tower.weight.dtype)
            given = pixels, video.cells, video.source, grid, settings, video.turns
            found = encode_video(tower, *given).cpu()
        side = settings.geometry.merge
        mask = kept_cells(video.cells).view(tubelets, height // side, width // side)
        times = tubelet_times(frames.pts_seconds, settings.geometry.temporal_patch, tubelets)
        return Video(found, mask, [each[0] for each in times], [middle(each) for each in times])

    def _loaded(self) -> Tower:
        """Returns the tower, which is loaded when the first video comes."""
        with self._loading:
            if self._tower is None:
                gpu = torch.cuda.is_available()
                device = f"cuda:{self.server_args.base_gpu_id}" if gpu else "cpu"
                self._tower = load_tower(self.server_args.model_path, self.hf_config, device)
            return self._tower

    # The prompt.

    def _words(self, video: Video, tokenizer: Any) -> list[list[int]] | None:
        """Returns the ids of each tubelet's time in words; None: the model has no such words."""
        if self.model_type != "qwen3_vl":
            return None
        return [
            tokenizer.encode(f"<{each:.1f} seconds>", add_special_tokens=False)
            for each in video.middles
        ]

    def _run(self, video: Video, words: list[list[int]] | None) -> Run:
        counts, pad = video.mask.flatten(1).sum(1).tolist(), self.VIDEO_TOKEN_ID
        if words is None:
            return plain_run(sum(counts), pad)
        return spoken_run(counts, words, self.IM_START_TOKEN_ID, pad, self.IM_END_TOKEN_ID)

    def _shown(self, videos: list[Video], words: list[Any], begins: list[int]) -> list[Shown]:
        found = []
        for video, each, at in zip(videos, words, begins, strict=True):
            if each is None:
                rate = float(self._tokens_per_second or 1.0)
                found.append(Shown(at, video.mask, None, clock_places(video.begins, rate)))
            else:
                found.append(Shown(at, video.mask, [len(ids) for ids in each]))
        return found

    def _places(self, prompt: Expanded, shown: list[Shown]) -> tuple[torch.Tensor, int]:
        if self.model_type == "qwen3_vl":
            return qwen3_positions(prompt.ids, shown, self.IM_START_TOKEN_ID)
        return qwen25_positions(prompt.ids, shown)


def _image(item: Any, side: int) -> Shown:
    """Returns where an image stands in the prompt."""
    t, height, width = item.model_specific_data["image_grid_thw"].flatten().tolist()
    shape = (t, height // side, width // side)
    return Shown(item.offsets[0][0], torch.ones(shape, dtype=torch.bool, device="cpu"))


def _item(video: Video, run: Run, begin: int) -> MultimodalDataItem:
    """Makes SGLang's item of a video."""
    return MultimodalDataItem(
        modality=Modality.VIDEO,
        offsets=[(begin + first, begin + last) for first, last in run.tokens],
        precomputed_embeddings=video.features,
    )
