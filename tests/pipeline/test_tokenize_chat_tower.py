"""A tower that is gated with a chat model's processor: frames are resized by how many there are."""

import chat_cases as cases
import clips
import pytest
import torch
from qwen_cases import tower
from since import language_models

import patchgate
from patchgate.gather import PixelSpec

pytestmark = language_models
FEW = {"size": {"shortest_edge": 128, "longest_edge": 32 * 32 * 10}}  # pixels of a whole video


@pytest.fixture(scope="module")
def gated():
    return patchgate.gated(tower("qwen3", torch.float32), cases.processor("qwen3", **FEW))


def sized(frames):
    spec = PixelSpec.from_processor(cases.processor("qwen3", **FEW), frames=frames)
    return spec.cells(48, 64)


def test_the_frames_of_a_file_are_counted(gated):
    path = clips.clip("h264.mp4")
    assert sized(40) != sized(4) != sized(2)
    assert patchgate.tokenize(path, gated).shape[1:] == sized(40)
    assert patchgate.tokenize(path, gated, fps=2).shape[1:] == sized(4)
    assert patchgate.embed(path, gated, fps=2).features.shape[0] == 2
    with patchgate.open_video(path, fps=2) as video:
        assert patchgate.tokenize(video, gated).shape[1:] == sized(4)


def test_the_frames_in_memory_are_counted(gated):
    frames = torch.randint(0, 256, (8, 3, 48, 64), dtype=torch.uint8)
    batch = patchgate.FrameBatch.from_rgb(frames)
    for given in (frames, frames.numpy(), batch, list(frames)):
        assert patchgate.tokenize(given, gated, fps=5).shape[1:] == sized(8)
    with pytest.raises(ValueError, match="how many frames its video has, and this is not known"):
        patchgate.tokenize(iter(frames), gated, fps=5)


def test_a_tokenizer_is_told_the_number(gated):
    frames = torch.randint(0, 256, (8, 3, 48, 64), dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"PixelSpec.from_processor\(processor, frames=..\)"):
        patchgate.Tokenizer(gated, fps=5).push(frames)
    spec = PixelSpec.from_processor(cases.processor("qwen3", **FEW), frames=100)
    told = patchgate.gated(gated.tower, spec)
    assert patchgate.Tokenizer(told, fps=5).push(frames).kind.shape[1:] == sized(100)


def test_resizing_by_another_rule_leaves_the_tower_as_it_is(gated):
    other = gated.resized(gated.pixel_spec.size.of_frames(3))
    assert other.tower is gated.tower
    assert (gated.pixel_spec.size.frames, other.pixel_spec.size.frames) == (None, 3)
    assert other.fidelity == gated.fidelity
