"""Answers of vLLM with the plugin: those of vLLM, or those of ``patchgate.language``."""

import re

import pytest
import reference
from asked import COLUMNS, ROWS
from jobs import FULL, KEPT, MEMORY, SINGLE

CELLS = ROWS * COLUMNS
SETTINGS = {"kept": KEPT, "full": FULL}
both = pytest.mark.parametrize("family", ["qwen3", "qwen25"])


def answers(found, name, number=0):
    """The answers of a round by the names of its requests."""
    assert "error" not in found[name], found[name]
    return found[name][number]


@both
@pytest.mark.parametrize("number", range(len(SINGLE)), ids=SINGLE)
def test_all_kept_is_stock(gated, stock, family, number):
    own, theirs = answers(gated, f"all {family}")[number], answers(stock, f"stock {family}")[number]
    assert own["prompt"] == theirs["prompt"]
    assert own["tokens"] == theirs["tokens"]
    assert own["logprobs"] == pytest.approx(theirs["logprobs"], abs=2e-6)


@pytest.mark.parametrize("number", range(len(SINGLE)), ids=SINGLE)
def test_off_is_stock(gated, stock, number):
    own, theirs = answers(gated, "off qwen3")[number], answers(stock, "stock qwen3")[number]
    assert own["prompt"] == theirs["prompt"]
    assert own["tokens"] == theirs["tokens"]
    assert own["logprobs"] == pytest.approx(theirs["logprobs"], abs=2e-6)


@both
@pytest.mark.parametrize("kind", SETTINGS)
@pytest.mark.parametrize("name", [name for name in SINGLE if name != "image"])
def test_gated_is_transformers_with_patchgate_language(gated, models, family, kind, name):
    found = answers(gated, f"{kind} {family}")[SINGLE.index(name)]
    prompt, scores, chosen = reference.logprobs(
        family, str(models[family]), name, SETTINGS[kind], found["tokens"]
    )
    assert found["prompt"] == prompt
    assert found["tokens"] == chosen
    assert found["logprobs"] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize(("number", "name"), enumerate(["back", "some"]))
def test_pictures_that_return_are_transformers_with_the_same_gate(gated, models, number, name):
    found = answers(gated, "memory qwen3")[number]
    prompt, scores, chosen = reference.logprobs(
        "qwen3", str(models["qwen3"]), name, MEMORY, found["tokens"]
    )
    assert (found["prompt"], found["tokens"]) == (prompt, chosen)
    assert found["logprobs"] == pytest.approx(scores, abs=1e-4)


def test_a_picture_that_returns_gives_the_tower_no_rows(gated):
    """The clip shows a picture, another one, and the first again, two tubelets each."""
    kept = f"a video of 6 tubelets: {2 * CELLS} of {6 * CELLS} tokens kept (33.3 %), "
    assert f"{kept}{2 * 4 * CELLS} of {6 * 4 * CELLS} rows" in gated["log"]


@both
def test_the_prompt_has_the_tokens_that_the_gate_kept(gated, models, family):
    _, processor = reference.parts(str(models[family]))
    pad = processor.tokenizer.convert_tokens_to_ids("<|video_pad|>")
    expected = {"still": CELLS, "all new": 4 * CELLS, "rest": CELLS + 1}
    for name, count in expected.items():
        prompt = answers(gated, f"full {family}")[SINGLE.index(name)]["prompt"]
        assert prompt.count(pad) == count, name


def test_true_times_stand_in_qwen3s_prompt(gated, models):
    """The clip's frames come at odd times; frame rates would say 0.1, 0.6, 1.1, 1.6."""
    _, processor = reference.parts(str(models["qwen3"]))
    found = answers(gated, "full qwen3")[len(SINGLE)]
    off = answers(gated, "off qwen3", 1)[0]
    for each in (found, off):
        words = processor.tokenizer.decode(each["prompt"])
        # Middles of 0.0 and 0.1, 0.6 and 0.7, 0.9 and 1.0, 1.5 and 1.7.
        assert re.findall(r"<([\d.]+) seconds>", words) == ["0.1", "0.7", "0.9", "1.6"]


def test_true_times_are_qwen25s_positions(gated, models):
    found = answers(gated, "full qwen25")[len(SINGLE)]
    prompt, scores, chosen = reference.logprobs(
        "qwen25", str(models["qwen25"]), "times", FULL, found["tokens"]
    )
    assert (found["prompt"], found["tokens"]) == (prompt, chosen)
    assert found["logprobs"] == pytest.approx(scores, abs=1e-4)


@pytest.mark.parametrize("number", range(len(SINGLE)), ids=SINGLE)
def test_chunks_of_a_prompt_and_caches_change_nothing(gated, number):
    whole = answers(gated, "full qwen3")[number]
    first, again = (answers(gated, "chunks qwen3", r)[number] for r in (0, 1))
    for each in (first, again):
        assert each["prompt"] == whole["prompt"]
        assert each["tokens"] == whole["tokens"]
        assert each["logprobs"] == pytest.approx(whole["logprobs"], abs=1e-5)
    assert (again["cached"] > 0) == (len(again["prompt"]) > 128)  # a block of the prefixes' cache


def test_rows_that_the_processor_normalised_give_the_same(gated):
    whole = [answers(gated, "full qwen3")[n] for n in (SINGLE.index("some"), len(SINGLE))]
    for own, other in zip(answers(gated, "floats qwen3"), whole, strict=True):
        assert own["prompt"] == other["prompt"]
        assert own["logprobs"] == pytest.approx(other["logprobs"], abs=1e-4)


@both
def test_context_makes_a_difference(gated, family):
    """Otherwise the tests above would compare nothing that residual attention does."""
    number = SINGLE.index("some")
    full, kept = (answers(gated, f"{kind} {family}")[number] for kind in SETTINGS)
    assert full["prompt"] == kept["prompt"]
    assert full["logprobs"] != pytest.approx(kept["logprobs"], abs=1e-3)


@both
def test_without_tolerance_the_tower_is_vllms_own_on_exact_repeats(gated, family):
    [found] = answers(gated, f"exact {family}")
    assert found["difference"] <= 1e-5 * found["largest"]
    assert found["share"] == pytest.approx((CELLS + 3) / (6 * CELLS))


@both
def test_what_is_all_new_goes_to_vllms_own_tower(gated, family):
    [found] = answers(gated, f"exact {family}", 1)
    assert found == {"all new": 1, "still": 0}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wrong name", "got 'thresold'; did you mean threshold?"),
        ("data parallel", '--mm-encoder-tp-mode "data" cannot go with the gate'),
        ("pruned twice", "--video-pruning-rate cannot go with the gate"),
    ],
)
def test_a_wrong_configuration_stops_the_start(gated, name, words):
    assert words in gated[name]["error"]


def test_the_log_says_what_is_gated(gated, stock):
    assert ": videos are gated: threshold=4.0, context='full', tolerance=0.05" in gated["log"]
    assert ": config.patchgate has no settings: no video is gated" in gated["log"]
    assert "a video of 4 tubelets: 12 of 48 tokens kept (25.0 %)" in gated["log"]
    assert "patchgate 0" not in stock["log"]
