"""prepare(): what chat messages become. Beside the models' own processors: test_prepare_beside.py.

Letters: T tubelets, B prompts, L ids.
"""

import re
from functools import cache
from pathlib import Path

import chat_cases as cases
import clips
import numpy as np
import pytest
import torch
from chat_cases import CELL, NAMES, image, say, video
from PIL import Image
from since import language_models

import patchgate
from patchgate.language import prepare

pytestmark = language_models
ANSWER = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
every = pytest.mark.parametrize("name", NAMES)
qwens = pytest.mark.parametrize("name", ["qwen3", "qwen25"])


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@cache
def shared(name):
    """A model that no test changes, and its processor."""
    return cases.model(name), cases.processor(name)


def path(name="h264.mp4"):
    return str(clips.clip(name))  # 40 frames of 64 x 48, 25 a second


def made(name, *parts, **options):
    return prepare(*shared(name), [say(*parts)], **options)


def shown(name, inputs):
    """The tokens of videos of each prompt, ``[B]``."""
    return (inputs.input_ids == shared(name)[0].config.video_token_id).sum(1)


def told(inputs):
    """The times that a prompt of Qwen3-VL says."""
    text = cases.tokenizer().decode(inputs.input_ids[0])
    return [float(each) for each in re.findall(r"<([\d.]+) seconds>", text)]


def noise(count=8, size=(48, 64), seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, *size), generator=random, dtype=torch.uint8)


@every
@pytest.mark.parametrize("options", [{}, {"layout": "dense"}, {"budget": 9}])
def test_a_batch_is_each_of_its_prompts_alone(name, options, tmp_path):
    model, photo = shared(name)[0], cases.photo(tmp_path)
    one, two = video(path(), fps=4), video(path("late.mkv"), fps=3)
    conversations = [
        [say("Be short.", role="system"), say(one, "What is it?")],
        [say(two, "x")],
        [say(image(photo), one, "Is it this?"), say("No.", role="assistant"), say("Why?")],
    ]
    batch = prepare(*shared(name), conversations, **options)
    scores, answers = model(**batch).logits, model.generate(**batch, **ANSWER)
    for i, conversation in enumerate(conversations):
        alone = prepare(*shared(name), conversation, **options)
        length = alone.input_ids.shape[1]
        assert torch.equal(batch.input_ids[i, -length:], alone.input_ids[0])
        assert int(batch.attention_mask[i].sum()) == length
        torch.testing.assert_close(scores[i, -length:], model(**alone).logits[0], rtol=0, atol=1e-9)
        assert torch.equal(answers[i, -4:], model.generate(**alone, **ANSWER)[0, -4:])


@every
def test_the_result_is_used_as_a_processors_is(name):
    model, processor = shared(name)
    before = {key: id(each) for key, each in model.named_parameters()}
    inputs = made(name, video(path(), fps=2), "?").to(model.device)
    outputs = model.generate(**inputs, **ANSWER)
    trimmed = [out[len(ids) :] for ids, out in zip(inputs.input_ids, outputs, strict=True)]
    assert len(processor.batch_decode(trimmed)[0]) > 0
    assert {key: id(each) for key, each in model.named_parameters()} == before
    tower = getattr(model.model, "vision_tower" if name == "llava" else "visual")
    assert not isinstance(tower, patchgate.GatedTower)


@every
def test_a_tower_that_is_gated_is_used_with_its_settings(name):
    model, processor = cases.model(name), cases.processor(name)
    messages = [say(video(path(), fps=10), "?")]
    plain = prepare(model, processor, messages)
    where, layer = ("vision_tower", -2) if name == "llava" else ("visual", None)
    tower = patchgate.gated(
        getattr(model.model, where), processor, feature_layer=layer, threshold=255, scene_cut=None
    )
    setattr(model.model, where, tower)
    few = prepare(model, processor, messages)
    assert shown(name, few) < shown(name, plain)
    same = made(name, *messages[0]["content"], threshold=255, scene_cut=None)
    assert torch.equal(few.input_ids, same.input_ids)
    assert getattr(model.model, where) is tower
    # A rule of the call comes before the tower's.
    again = prepare(model, processor, messages, threshold=4, scene_cut=0.8)
    assert torch.equal(again.input_ids, plain.input_ids)


@every
@pytest.mark.parametrize("budget", [4, 13, 30, 100_000])
def test_a_budget_is_kept(name, budget):
    whole = int(shown(name, made(name, video(path(), fps=10), "?")))
    inputs = made(name, video(path(), fps=10), "?", budget=budget)
    came = int(shown(name, inputs))
    assert came == min(whole, budget) if name != "llava" else 0 < came <= min(whole, budget)
    assert torch.isfinite(shared(name)[0](**inputs).logits).all()


@every
def test_several_videos_share_a_budget(name):
    parts = [video(path(), fps=10), "and", video(path("late.mkv"), fps=2), "?"]
    inputs = made(name, *parts, budget=40)
    assert 20 <= int(shown(name, inputs)) <= 40
    assert int(shown(name, made(name, *parts))) > 80
    # Each prompt of a batch has the whole budget.
    batch = prepare(*shared(name), [[say(*parts)], [say(*parts[:1])]], budget=40)
    assert (shown(name, batch) <= 40).all()
    assert (shown(name, batch) >= 20).all()


@every
def test_tokens_per_second_are_kept(name):
    """1.6 s of video, in a first second and a second one."""
    inputs = made(name, video(path(), fps=10), "?", tokens_per_second=20)
    mark = int(name == "llava")
    assert 20 <= int(shown(name, inputs)) - mark <= 40
    assert torch.isfinite(shared(name)[0](**inputs).logits).all()


@qwens
def test_the_dense_layout_has_every_cell(name):
    inputs = made(name, video(path(), fps=10), "?", layout="dense")
    assert int(shown(name, inputs)) == 8 * (48 // CELL) * (64 // CELL)  # 16 frames in pairs


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


@every
def test_a_video_that_several_prompts_show_is_encoded_once(name, monkeypatch):
    from patchgate.language import clips as reading

    calls = []
    monkeypatch.setattr(
        reading, "tokenize", lambda *args, **named: calls.append(1) or tokenize(*args, **named)
    )
    one, frames = video(path(), fps=3), noise()
    batch = [[say(one, "a")], [say(one, "bcd")], [say(video(frames, fps=3), one, "e")],
             [say(video(frames, fps=3), "f")], [say(video(path(), fps=4), "g")]]  # fmt: skip
    inputs = prepare(*shared(name), batch)
    assert len(calls) == 3
    assert len(inputs.input_ids) == 5


tokenize = patchgate.tokenize


@every
def test_the_template_is_the_processors(name):
    parts = video(path(), fps=2), "What?"
    text = cases.tokenizer().decode(made(name, *parts).input_ids[0])
    assert text.endswith(
        "What?<|im_end|>" + ("\n" if name != "llava" else "") + "<|im_start|>assistant\n"
    )
    text = cases.tokenizer().decode(made(name, *parts, add_generation_prompt=False).input_ids[0])
    assert "assistant" not in text
    other = {"chat_template": "{{ word }}" + cases.processor(name).chat_template, "word": "Hello"}
    text = cases.tokenizer().decode(made(name, *parts, template=other).input_ids[0])
    assert text.startswith("Hello<|im_start|>user")
    # A content that is a text, which LLaVA-OneVision's template passes over.
    messages = [{"role": "system", "content": "Be short."}, say(*parts)]
    text = cases.tokenizer().decode(prepare(*shared(name), messages).input_ids[0])
    assert "Be short." in text
