"""prepare(): which frames of a video are shown, how large, and how videos and images are named."""

from pathlib import Path

import chat_cases as cases
import numpy as np
import pytest
import torch
from chat_cases import NAMES, image, made, noise, path, say, shared, shown, told, video
from PIL import Image
from since import language_models

import patchgate
from patchgate.language import prepare

pytestmark = language_models
every = pytest.mark.parametrize("name", NAMES)
qwens = pytest.mark.parametrize("name", ["qwen3", "qwen25"])


def test_frames_and_their_times():
    """Of each pair of frames the prompt says the middle."""

    def times(fps=None, **settings):
        return told(made("qwen3", video(path(), **settings), "?", fps=fps, layout="dense"))

    assert times(fps=5) == [0.1, 0.5, 0.9, 1.3]  # 0, 0.2, .. 1.4
    assert times(fps=5) == times(num_frames=8) == times(nframes=8) == times(fps=5.0)
    assert times(fps=25, num_frames=8) == times(fps=5)  # the part's own come first
    assert times() == [0.2, 1.2]  # the processor's: 2 a second, but at least 4
    assert times(max_frames=2) == [0.4]
    assert times(fps=5, max_frames=4) == times(num_frames=4)
    assert times(fps=1, min_frames=8) == times(fps=5)
    assert times(fps=5, video_start=0.8) == [0.9, 1.3]
    assert times(fps=5, video_start=0.4, video_end=1.2) == times(fps=5, start=0.4, end=1.2)
    assert times(fps=5, video_start=0.4, video_end=1.2) == [0.5, 0.9]
    assert times(num_frames=1000) == times(fps=25) == times(fps=1000)
    assert times(num_frames=3) == [0.3, 1.0]  # the last frame is shown twice


def test_a_processor_that_does_not_sample_gives_every_frame():
    inputs = made("qwen25", video(path()), "?", layout="dense")
    assert int(shown("qwen25", inputs)) == 20 * 48
    model, own = shared("qwen25")[0], cases.processor("qwen25", do_sample_frames=True, fps=5)
    inputs = prepare(model, own, [say(video(path()), "?")], layout="dense")
    assert int(shown("qwen25", inputs)) == 4 * 48


@qwens
def test_sizes_of_frames(name):
    def cells(**settings):
        inputs = made(name, video(path(), fps=5, **settings), "?", layout="dense")
        return int(shown(name, inputs)) / 4

    assert cells() == 48
    assert cells(max_pixels=24 * 32) == 12
    assert cells(min_pixels=96 * 128) == 192
    assert cells(total_pixels=4 * 24 * 32) == 12  # of 4 tubelets
    assert cells(total_pixels=4 * 24 * 32, max_pixels=48 * 64) == 12
    assert cells(total_pixels=4 * 48 * 64, max_pixels=24 * 32) == 12
    assert cells(resized_height=16, resized_width=39) == 2 * 5
    assert cells(min_pixels=24 * 32, max_pixels=24 * 32) == 12


def test_qwen3_vl_shares_the_pixels_of_a_video_among_its_frames():
    """As its processor does: test_prepare_beside.py compares the sizes."""
    whole = {"size": {"shortest_edge": 128, "longest_edge": 8 * 24 * 32}}
    processor = cases.processor("qwen3", **whole)
    counts = {}
    for count in (8, 4, 2):
        parts = say(video(path(), num_frames=count), "?")
        inputs = prepare(shared("qwen3")[0], processor, [parts], layout="dense")
        counts[count] = int(shown("qwen3", inputs)) / (count // 2)
    assert counts == {8: 12, 4: 20, 2: 48}


@every
def test_the_ways_to_name_a_video(name):
    data = Path(path()).read_bytes()
    wanted = made(name, video(path(), fps=5), "?")
    others = [
        video(Path(path()), fps=5),
        video(data, fps=5),
        video(f"file://{path()}", fps=5),
        {"type": "video", "path": path(), "fps": 5},
        {"type": "video", "url": path(), "fps": 5.0, "num_frames": None},
        {"type": "video_url", "video_url": {"url": path()}, "fps": 5},
        {"video": path(), "fps": 5},
    ]
    for other in others:
        inputs = made(name, other, "?")
        assert torch.equal(inputs.input_ids, wanted.input_ids)
        assert torch.equal(inputs.position_ids, wanted.position_ids)
    with open(path(), "rb") as file:
        inputs = made(name, video(file, fps=5), {"text": "?"})
    assert torch.equal(inputs.input_ids, wanted.input_ids)


@every
def test_frames_in_memory(name, tmp_path):
    frames = noise()
    wanted = made(name, video(frames, fps=4), "?")
    files = []
    for i, each in enumerate(frames):
        Image.fromarray(each.permute(1, 2, 0).numpy()).save(tmp_path / f"{i}.png")
        files.append(str(tmp_path / f"{i}.png"))
    timed = patchgate.FrameBatch.from_rgb(frames, torch.arange(8) / 4)
    for other in (video(frames.numpy(), fps=4), video(list(frames), sample_fps=4), video(timed),
                  video(files, fps=4)):  # fmt: skip
        inputs = made(name, other, "?")
        assert torch.equal(inputs.input_ids, wanted.input_ids)
        assert torch.equal(inputs.position_ids, wanted.position_ids)
    if name == "qwen3":
        assert told(wanted) == [0.1, 0.6, 1.1, 1.6]


@every
def test_the_ways_to_name_an_image(name, tmp_path):
    photo = cases.photo(tmp_path)
    opened = Image.open(photo)
    part = video(path(), fps=3)
    wanted = made(name, image(photo), part, "?")
    for other in (image(opened), image(Path(photo)), image(f"file://{photo}"),
                  image(np.asarray(opened)), {"type": "image", "url": photo}, {"image": photo},
                  {"type": "image_url", "image_url": {"url": photo}}):  # fmt: skip
        inputs = made(name, other, part, "?")
        assert torch.equal(inputs.input_ids, wanted.input_ids)
        torch.testing.assert_close(
            inputs["mm_encoder_outputs"]["image"].pooler_output,
            wanted["mm_encoder_outputs"]["image"].pooler_output,
        )


@qwens
def test_sizes_of_images(name, tmp_path):
    photo, token = cases.photo(tmp_path), shared(name)[0].config.image_token_id  # 24 x 40

    def cells(*images):
        inputs = made(name, *images, video(path(), fps=3), "?")
        return int((inputs.input_ids == token).sum())

    assert cells(image(photo)) == 15
    assert cells(image(photo, max_pixels=430)) == 6
    assert cells(image(photo, min_pixels=48 * 80)) == 60
    assert cells(image(photo, resized_height=16, resized_width=16)) == 4
    assert cells(image(photo, max_pixels=430), image(photo)) == 21
