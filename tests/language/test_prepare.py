"""prepare(): what chat messages become. Beside the models' own processors: test_prepare_beside.py.

Which frames of a video are shown, and how large: test_prepare_video.py. Letters: B prompts, L ids.
"""

import chat_cases as cases
import pytest
import torch
from chat_cases import NAMES, image, made, noise, path, say, shared, shown, video
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
    assert int(shown(name, inputs)) == 8 * 48  # 16 frames in pairs


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
