"""SGLang's processors with the gate: what they hand to SGLang is what transformers gets.

SGLang lies here without its engine, which needs a GPU: sglang_asks.py says what of it runs.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import asked
import pytest
import reference
import torch
from asked import COLUMNS, IMAGE, ROWS, SIDES, VIDEO
from jobs import FULL, KEPT
from PIL import Image

from patchgate.serving.frames import read_frames
from patchgate.serving.sglang.video import video_data

CELLS, FPS, FRAMES = ROWS * COLUMNS, 4, 8
SETTINGS = {"kept": KEPT, "full": FULL}
ENDS = "<|im_end|>\n<|im_start|>assistant\n"
both = pytest.mark.parametrize("family", ["qwen3", "qwen25"])
# Names of requests, with the kinds of their clips in the prompt's order.
SAME = {"one": ["some"], "all new": ["all new"], "two": ["some", "rest"], "image": ["some"]}
PROMPTS = {
    "one": f"Look:{VIDEO}What?", "all new": f"{VIDEO}What?", "two": f"{VIDEO} or {VIDEO}?",
    "image": f"A {IMAGE} and {VIDEO}?",
}  # fmt: skip
LATE = [0, 10, 60, 70, 90, 100, 150, 170]  # hundredths of a second
WAIT = 900


def text(name: str) -> str:
    return f"<|im_start|>user\n{PROMPTS[name]}{ENDS}"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """Clips of each family as files, by kind."""
    root = tmp_path_factory.mktemp("clips")
    found: dict[str, dict[str, bytes]] = {}
    for family, side in SIDES.items():
        clips = {
            "some": asked.clip("some", side, FRAMES),
            "all new": asked.clip("all new", side, FRAMES, 1),
            "rest": asked.clip("long rest", side, FRAMES, 2),
            "one frame": asked.clip("still", side, 1),
        }
        found[family] = {n: asked.written(root / "c.mkv", c) for n, c in clips.items()}
        found[family]["late"] = asked.written(root / "c.mkv", clips["some"], LATE)
    return found


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("pictures")
    for family, side in SIDES.items():
        Image.fromarray(asked.picture(side, 3)).save(root / f"{family}.png")
    return {family: str(root / f"{family}.png") for family in SIDES}


def media(files: Any, picture: Any, family: str, name: str) -> dict[str, Any]:
    """The videos of a request as transformers gets them, and its image."""
    clips = []
    for kind in SAME[name]:
        frames = read_frames(files[family][kind], fps=FPS)
        clips.append((frames.rgb, {"fps": FPS, "patchgate": {"pts_seconds": frames.pts_seconds}}))
    images = {"image": [Image.open(picture[family])]} if name == "image" else {}
    return {"video": clips, **images}


@pytest.fixture(scope="module")
def answers(models, files, picture, tmp_path_factory) -> dict[str, Any]:
    """What SGLang's processors make of all requests."""
    jobs: dict[str, Any] = {}

    def job(name: str, family: str, settings: Any, requests: Any, **more: Any) -> None:
        jobs[name] = {
            "model": str(models[family]), "gated": True, "settings": settings,
            "media": {"video": {"fps": FPS}}, "requests": requests, **more,
        }  # fmt: skip

    for family in SIDES:
        own = files[family]
        same = {
            name: {
                "text": text(name), "videos": [own[kind] for kind in kinds], "embed": True,
                "images": [picture[family]] if name == "image" else None,
            }
            for name, kinds in SAME.items()
        }  # fmt: skip
        same["image"]["embed"] = False  # there SGLang must encode the image
        for kind, settings in SETTINGS.items():
            job(f"{kind} {family}", family, settings, same)
        steps = torch.tensor([2 / FPS]) if family == "qwen25" else None
        dense = {"grid": [FRAMES // 2, 2 * ROWS, 2 * COLUMNS], "steps": steps}
        job(f"all {family}", family, {"max_age": 1}, {"one": {**same["one"], "dense": dense}})
        clip = media(files, picture, family, "one")["video"][0]
        tokens = reference.tokens_of(family, str(models[family]), clip, KEPT)
        job(
            f"tokens {family}",
            family,
            KEPT,
            {"one": {**same["one"], "videos": [video_data(tokens)]}},
        )
    own = files["qwen3"]
    one = {"text": text("one")}
    job("late", "qwen3", KEPT, {"one": {**one, "videos": [own["late"]]}},
        media={"video": {"fps": -1}})  # fmt: skip
    job("wrong requests", "qwen3", {**KEPT, "max_tokens": 14}, {
        "text": {**one, "videos": [b"this is text" * 50]},
        "nothing": {**one, "videos": [b""]},
        "no placeholder": {"text": "What?", "videos": [own["some"]]},
        "frames": {**one, "videos": [asked.clip("some", 32, FRAMES)]},
        "address": {**one, "videos": ["http://127.0.0.1:9/none.mp4"]},
        "features": {**one, "videos": [{"format": "precomputed_embedding", "feature": [[1.0]]}]},
        "one frame": {**one, "videos": [own["one frame"]]},
        "all new": {**one, "videos": [own["all new"]]},
        "some": {**one, "videos": [own["some"]]},
    })  # fmt: skip
    plain = {"image": {"text": f"A {IMAGE}?", "images": [picture["qwen3"]]}, "text": {"text": "Hi"}}
    job("off", "qwen3", None, plain, media=None)
    job("stock", "qwen3", None, plain, media=None, gated=False)
    job("wrong name", "qwen3", {"thresold": 1}, {})
    job("wrong sampling", "qwen3", KEPT, {}, media={"video": {"max_frames": 4}})
    job("wrong rate", "qwen3", KEPT, {}, media={"video": {"fps": 0}})
    folder = tmp_path_factory.mktemp("sglang")
    given, found, log = (folder / name for name in ("asked.pt", "found.pt", "log.txt"))
    torch.save(jobs, given)
    call = [sys.executable, str(Path(__file__).parent / "sglang_asks.py"), str(given), str(found)]
    with log.open("w") as out:
        ended = subprocess.run(
            call, stdout=out, stderr=subprocess.STDOUT, timeout=WAIT, check=False, env=os.environ
        )
    assert ended.returncode == 0, log.read_text()[-8000:]
    return {"log": log.read_text(), **torch.load(found, weights_only=False)}


def answer(answers: Any, job: str, name: str) -> dict[str, Any]:
    assert "error" not in answers[job], answers[job]
    found = answers[job][name]
    assert "error" not in found, found
    return found


def features(inputs: Any) -> torch.Tensor:
    """The rows of a model's videos, with those of the tapped layers behind them."""
    outputs = inputs["mm_encoder_outputs"]["video"]
    rows = torch.cat(list(outputs.pooler_output))
    taps = getattr(outputs, "deepstack_features", None) or []
    return torch.cat([rows, *[torch.cat(list(each)) for each in taps]], 1)


@both
@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("name", SAME)
def test_it_is_what_patchgate_language_gives_transformers(
    answers, models, files, picture, family, kind, name
):
    found = answer(answers, f"{kind} {family}", name)
    given = media(files, picture, family, name)
    inputs = reference.inputs_of(family, str(models[family]), text(name), given, SETTINGS[kind])
    assert found["class"] == "patchgate.serving.sglang.processor.GatedQwen"
    assert found["ids"] == inputs["input_ids"][0].tolist()
    assert torch.equal(found["positions"], inputs["position_ids"][-3:, 0])
    assert found["delta"] == int(found["positions"].max()) + 1 - len(found["ids"])
    rows = torch.cat([each["rows"] for each in found["items"] if each["kind"] == "VIDEO"])
    expected = features(inputs)
    assert rows.shape == expected.shape
    assert float((rows - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


@both
@pytest.mark.parametrize("name", ["one", "two"])
def test_sglang_puts_the_rows_where_their_tokens_stand(answers, family, name):
    """Its own function does so, without a call of the tower."""
    found = answer(answers, f"full {family}", name)
    rows, after = found["embedded"]["rows"], found["embedded"]["input_deepstack_embeds"]
    at = [k for item in found["items"] for a, b in item["offsets"] for k in range(a, b + 1)]
    expected = torch.cat([item["rows"] for item in found["items"]])
    assert torch.equal(torch.cat([rows, after], 1)[at], expected)
    others = torch.ones(len(rows), dtype=torch.bool)
    others[at] = False
    assert not rows[others].any()
    assert len(at) == len(set(at)) < len(rows)


@both
@pytest.mark.parametrize("name", SAME)
def test_padded_ids(answers, family, name):
    """Every token has its item's padding, by which SGLang's cache tells videos apart."""
    found = answer(answers, f"kept {family}", name)
    expected = list(found["ids"])
    for item in found["items"]:
        for (a, b), padding in zip(item["offsets"], item["padding"], strict=True):
            assert len(set(found["ids"][a : b + 1])) == 1  # placeholders
            expected[a : b + 1] = padding
    assert found["padded"] == expected
    assert expected != found["ids"]
    pads = [item["pad"] for item in found["items"]]
    assert len(set(pads)) == len(pads)


@both
def test_everything_kept_is_the_dense_tower_at_sglangs_own_positions(
    answers, models, files, picture, family
):
    found = answer(answers, f"all {family}", "one")
    model, processor = reference.parts(str(models[family]))
    [(frames, _)] = media(files, picture, family, "one")["video"]
    given = processor.video_processor(
        videos=[torch.from_numpy(frames).permute(0, 3, 1, 2)], do_sample_frames=False,
        return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
        dense = model.model.visual(given["pixel_values_videos"], grid_thw=given["video_grid_thw"])
    rows = [dense.pooler_output, *(getattr(dense, "deepstack_features", None) or [])]
    expected = torch.cat(rows, 1)
    [item] = found["items"]
    assert float((item["rows"] - expected).abs().max()) <= 1e-5 * float(expected.abs().max())
    places, delta = found["own positions"]
    assert torch.equal(found["positions"], places)
    assert found["delta"] == delta


@both
def test_tokens_that_were_made_elsewhere_are_the_same(answers, family):
    own, sent = (answer(answers, f"{job} {family}", "one") for job in ("kept", "tokens"))
    assert sent["ids"] == own["ids"]
    assert torch.equal(sent["positions"], own["positions"])
    assert len(sent["items"]) == len(own["items"]) == 1
    assert sent["items"][0]["offsets"] == own["items"][0]["offsets"]
    assert torch.allclose(sent["items"][0]["rows"], own["items"][0]["rows"], atol=1e-5)


def test_true_times_stand_in_the_prompt(answers, models):
    _, processor = reference.parts(str(models["qwen3"]))
    words = processor.tokenizer.decode(answer(answers, "late", "one")["ids"])
    # Middles of 0.0 and 0.1, 0.6 and 0.7, 0.9 and 1.0, 1.5 and 1.7.
    assert re.findall(r"<([\d.]+) seconds>", words) == ["0.1", "0.7", "0.9", "1.6"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("text", "is a text file, not a video"),
        ("nothing", "video: expected a file, got no bytes"),
        ("no placeholder", "expected a placeholder for each of the request's 1 videos, got 0"),
        ("frames", "expected a file or its address, whose frames have times"),
        ("address", "video: it could not be fetched: "),
        ("features", "expected what patchgate.serving.sglang.video.video_data makes"),
    ],
)
def test_a_wrong_request_is_an_error_of_its_own_and_the_processor_goes_on(answers, name, words):
    found = answers["wrong requests"]
    assert words in found[name]["error"]
    assert found[name]["error"].startswith("ValueError")
    # These came after it.
    assert len(found["one frame"]["items"][0]["rows"]) == CELLS
    # The budget of 14 tokens holds exactly, also where everything changes.
    assert len(found["all new"]["items"][0]["rows"]) <= 14
    assert len(found["some"]["items"][0]["rows"]) <= 14


@pytest.mark.parametrize("name", ["image", "text"])
def test_without_settings_it_is_sglangs_own(answers, name):
    own, stock = (answer(answers, job, name) for job in ("off", "stock"))
    assert own["class"] != stock["class"]
    assert own["ids"] == stock["ids"]
    assert torch.equal(own["positions"], stock["positions"])
    for one, other in zip(own["items"], stock["items"], strict=True):
        assert one["offsets"] == other["offsets"]
        assert torch.equal(one["pixels"], other["pixels"])


def test_a_wrong_configuration_stops_the_start(answers):
    assert "got 'thresold'; did you mean threshold?" in answers["wrong name"]["error"]
    words = "with the gate, video takes fps, nframes, start, end, size, got max_frames"
    assert words in answers["wrong sampling"]["error"]
    assert "fps: expected" in answers["wrong rate"]["error"]


def test_the_log_says_what_is_gated(answers):
    assert ": videos are gated: threshold=4.0, context='full', tolerance=0.05" in answers["log"]
    assert ": no video is gated: config.patchgate has no settings" in answers["log"]
    assert "a video of 4 tubelets: 48 of 48 tokens kept (100.0 %)" in answers["log"]
