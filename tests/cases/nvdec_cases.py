"""What several tests of nvdec share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import clips
import pytest
import token_cases
import torch

import patchgate
from patchgate import Gate, VideoTokens
from patchgate.decode import FrameBatch, NvdecUnavailable, Video

VIDEOS = ["h264.mp4", "late.mp4", "late.mkv", "late.ts", "hevc.mp4", "hevc.ts", "vp9.webm",
          "av1.mkv", "mpeg2.ts", "vfr.mp4", "vfr.mkv", "faststart.mp4"]  # fmt: skip


EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "clips").glob("*.m*[4v]"))


def on_gpu(source: Any, **options: Any) -> Video:
    video = patchgate.open_video(source, device="cuda", **options)
    assert video.decoder == "nvdec"
    return video


def assert_same(got: list[FrameBatch], expected: list[FrameBatch]) -> None:
    assert [len(batch) for batch in got] == [len(batch) for batch in expected]
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.colour == theirs.colour
        for name in ("pts_seconds", "duration_seconds", "key_frame"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
        for plane, other in zip(ours.planes, theirs.planes, strict=True):
            assert torch.equal(plane, other)


def assert_like_the_cpu(source: Any, **options: Any) -> Video:
    expected = list(patchgate.open_video(source, **options))
    video = on_gpu(source, **options)
    assert expected, "nothing to compare"
    assert_same(list(video), expected)
    return video


def refused(message: str, device: str = "cuda") -> None:
    with pytest.raises(NvdecUnavailable, match=message):
        patchgate.open_video(clips.clip("h264.mp4"), device=device)


def both(video: Any, gate: Gate, **options: Any) -> VideoTokens:
    """Tokens on the GPU path, which must be those of the CPU path."""
    expected = patchgate.tokenize(video, gate=gate, **options)
    got = patchgate.tokenize(video, gate=gate, device="cuda", **options)
    token_cases.assert_same(got, expected)
    return got


def small_tower(**rules: Any) -> Any:
    """A gated SigLIP of random weights, 4 x 4 cells of 14 pixels."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.SiglipVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=56, patch_size=14)  # fmt: skip
    processor = transformers.SiglipImageProcessorPil(size={"height": 56, "width": 56})
    model = transformers.SiglipVisionModel(config).eval()
    return patchgate.gated(model, processor, **{"threshold": 6, **rules})
