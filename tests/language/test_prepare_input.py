"""prepare(): what does not fit is refused in the user's words."""

from functools import cache
from types import SimpleNamespace

import chat_cases as cases
import clips
import pytest
import torch
from chat_cases import image, say, video
from since import language_models

import patchgate
from patchgate import _check
from patchgate.language import prepare

pytestmark = language_models
CLIP = str(clips.clip("h264.mp4"))
ONE = video(CLIP, fps=2)
FRAMES = torch.zeros(4, 3, 48, 64, dtype=torch.uint8)


@cache
def shared(name="qwen3"):
    return cases.model(name), cases.processor(name)


@pytest.mark.parametrize(
    ("messages", "error", "message"),
    [
        ("What?", TypeError, "messages: expected a list of messages such as .* got str"),
        (say(ONE), TypeError, "messages: expected a list of messages .* got dict"),
        ([], ValueError, "messages: expected a list of messages .* got an empty one"),
        ([[]], ValueError, r"messages\[0\]: expected a conversation: .* got an empty one"),
        ([say(ONE), [say(ONE)]], ValueError, "or a batch of conversations .* got both"),
        ([[say(ONE)], 3], TypeError, r"messages\[1\]: expected a conversation: .* got int"),
        (["What?"], TypeError, r"messages\[0\]: expected a conversation: .* got str"),
        ([[say(ONE)], [say("x")]], ValueError, r"messages\[1\]: expected at least one video"),
        ([say("What?")], ValueError, "messages: expected at least one video, got none; without"),
        ([{"content": [ONE]}], ValueError, r"messages\[0\]: expected a message with a role"),
        ([{"role": 1, "content": [ONE]}], ValueError, "expected a message with a role"),
        ([{"role": "user"}], TypeError, r"messages\[0\]: expected content that .* got NoneType"),
        ([{"role": "user", "content": 3}], TypeError, "a text or a list of parts, got int"),
        ([say(ONE), {"role": "user", "content": [3]}], TypeError, r"\[1\], part 0: .* got int"),
        ([say(ONE, {"type": "audio", "audio": "x"})], ValueError,
         r"part 1: expected the type 'text', 'image' or 'video', got 'audio'"),
        ([say(ONE, {"word": "x"})], ValueError, r"'video', got None \(its keys are \['word'\]\)"),
        ([say(ONE, {"type": "text"})], ValueError, "part 1: expected a text"),
        ([say({"type": "video"})], ValueError, "expected one video, as .* got none of video, path"),
        ([say(video(CLIP, url=CLIP))], ValueError, "expected one video, as .* got video and url"),
        ([say(video(CLIP, frames=8))], ValueError, "a video has no setting 'frames'; it has fps,"),
        ([say(ONE, image("x", fps=2))], ValueError, "an image has no setting 'fps'; it has min_p"),
        ([say(video(CLIP, fps="2"))], TypeError, "part 0: fps: expected a number, got '2'"),
        ([say(video(CLIP, fps=0))], ValueError, "part 0: fps: expected 1e-09..1e"),
        ([say(video(CLIP, fps=2, num_frames=8))], ValueError, "expected fps or num_frames, got b"),
        ([say(video(CLIP, nframes=8, num_frames=8))], ValueError, "num_frames is given twice"),
        ([say(video(CLIP, max_pixels=2.5))], TypeError, "max_pixels: expected a whole number"),
        ([say(video(CLIP, min_pixels=9, max_pixels=8))], ValueError, "min_pixels of at most max_p"),
        ([say(video(CLIP, resized_height=8))], ValueError, "resized_height and resized_width, got"),
        ([say(video(CLIP, video_start=2, video_end=1))], ValueError, "video_start of at most vid"),
        ([say(video({"path": CLIP}))], ValueError, r"'..'\}, got the keys \['path'"),
        ([say(video(patchgate.tokenize(CLIP)))], TypeError, "a VideoTokens; .* VideoTokens go"),
        ([say(video("no/such.mp4"))], FileNotFoundError, "no/such.mp4: no such file"),
        ([say(video(CLIP, video_start=100))], ValueError, "part 0: no frame lies between 100"),
        ([say(ONE, image("no/such.png"))], FileNotFoundError, "part 1: no such picture: no/such.p"),
        ([say(ONE, image(CLIP))], ValueError, "h264.mp4 cannot be read as a picture"),
        ([say(ONE, image(3))], TypeError, "expected a path, an address or a picture, got an int"),
        ([say(video(FRAMES))], ValueError, "expected times, got none: give the rate"),
        ([say(video(FRAMES, fps=2, video_start=1))], ValueError, "video_start: these choose fr"),
        ([say(video(iter(FRAMES), fps=2))], ValueError, "expected frames that can be counted"),
        ([say(video(["a.png"], fps=2))], FileNotFoundError, "part 0: no such picture: a.png"),
        ([say(ONE, "say <|video_pad|>")], ValueError, r"part 1: this text has the placeholder"),
    ],
)  # fmt: skip
def test_messages_that_do_not_fit_are_refused(messages, error, message):
    with pytest.raises(error, match=message):
        prepare(*shared(), messages)


def test_an_error_of_decoding_names_the_part():
    with pytest.raises(ValueError, match="is a text file") as told:
        prepare(*shared(), [say(ONE, "or", video(b"no video"))])
    assert told.value.__notes__ == ["The video is messages[0], part 2."]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"budget": 0}, ValueError, "budget: expected at least 1, got 0"),
        ({"budget": 2.5}, TypeError, "budget: expected a whole number, got 2.5"),
        ({"tokens_per_second": -1}, ValueError, "tokens_per_second: expected at least 1"),
        ({"budget": 8, "tokens_per_second": 8}, ValueError, "budget or tokens_per_second, got"),
        ({"budget": 8, "layout": "dense"}, ValueError, "budget: layout=\"dense\" shows every cell"),
        ({"layout": "flat"}, ValueError, "layout: expected one of 'packed', 'dense'"),
        ({"fps": "2"}, TypeError, "fps: expected a number"),
        ({"add_generation_prompt": 1}, TypeError, "add_generation_prompt: expected True or False"),
        ({"max_pixels": 9}, TypeError, r"in the message, as .*'max_pixels': 9\}"),
        ({"nframes": 9}, TypeError, "prepare: nframes is a setting of one video: give it in the"),
        ({"return_tensors": "pt"}, TypeError, "leave return_tensors out: it always returns"),
        ({"treshold": 9}, TypeError, "prepare: expected options of .* got 'treshold'"),
        ({"threshold": -9}, ValueError, "threshold"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        prepare(*shared(), [say(ONE)], **options)


def test_a_budget_without_a_token_for_each_video_is_refused():
    messages = [say(ONE, video(CLIP, fps=3), "?")]
    with pytest.raises(ValueError, match="budget: expected at least 2 tokens for 2 videos, got 1"):
        prepare(*shared(), messages, budget=1)
    with pytest.raises(ValueError, match="budget: expected at least 4 tokens for 2 videos, got 3"):
        prepare(*shared("llava"), messages, budget=3)


def test_sizes_of_a_model_with_one_size_are_refused():
    with pytest.raises(ValueError, match="part 0: max_pixels: the frames of this model have one"):
        prepare(*shared("llava"), [say(video(CLIP, fps=2, max_pixels=99))])
    with pytest.raises(ValueError, match="part 1: max_pixels: the pictures of this model have one"):
        prepare(*shared("llava"), [say(ONE, image("x", max_pixels=99))])


def test_a_processor_of_another_model_is_refused():
    model, processor = shared()
    with pytest.raises(ValueError, match=r"video_token_id is 264, that of a Qwen3VL.* one folder"):
        prepare(model, cases.processor("llava"), [say(ONE)])
    with pytest.raises(TypeError, match=r"expected the Qwen3VLProcessor .* which has no tokenizer"):
        prepare(model, cases.tokenizer(), [say(ONE)])
    other = cases.processor("qwen3", patch_size=8)
    with pytest.raises(ValueError, match="patch: the processor says 8, got 4"):
        prepare(model, other, [say(ONE)])
    changed = cases.model("qwen3")
    changed.model.visual = patchgate.gated(changed.model.visual, processor)
    paler = cases.processor("qwen3", image_mean=[0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match=r"it normalises with mean=.* was gated for mean="):
        prepare(changed, paler, [say(ONE)])


def test_a_model_that_is_not_known_is_refused():
    model, processor = shared()
    with pytest.raises(TypeError, match=r"expected one of Qwen3VL.*, got a Linear"):
        prepare(torch.nn.Linear(1, 1), processor, [say(ONE)])
    wrapped = SimpleNamespace(get_base_model=lambda: model)
    with pytest.raises(TypeError, match=r"pass model.get_base_model\(\)"):
        prepare(wrapped, processor, [say(ONE)])


def test_a_processor_without_a_chat_template_is_refused():
    model, processor = cases.model("qwen3"), cases.processor("qwen3")
    processor.chat_template = None
    with pytest.raises(ValueError, match=r"it has no chat template; load it with .* template="):
        prepare(model, processor, [say(ONE)])
    inputs = prepare(model, processor, [say(ONE)], template={"chat_template": cases.QWEN_TEMPLATE})
    assert inputs.input_ids.shape[0] == 1


def test_a_template_that_leaves_a_video_out_is_refused():
    template = {"chat_template": "{% for m in messages %}{{ m.role }}{% endfor %}"}
    with pytest.raises(
        ValueError, match=r"wrote 0 placeholders <\|video_pad\|> for 1; it may show"
    ):
        prepare(*shared(), [say(ONE)], template=template)


def test_a_llava_tower_without_its_feature_layer_is_refused():
    """Its last hidden states have the same width, and are others."""
    model, processor = cases.model("llava"), cases.processor("llava")
    model.model.vision_tower = patchgate.gated(model.model.vision_tower, processor)
    with pytest.raises(ValueError, match=r"gate it with gated\(.., feature_layer=-2\)"):
        prepare(model, processor, [say(ONE)])


def test_models_of_an_older_transformers_are_refused(monkeypatch):
    older = SimpleNamespace(modules={"transformers": SimpleNamespace(__version__="5.17.0")})
    model, processor = shared()
    monkeypatch.setattr(_check, "sys", older)
    with pytest.raises(ImportError, match=r"transformers 5.18 or later, got one of 5.17.0"):
        prepare(model, processor, [say(ONE)])
