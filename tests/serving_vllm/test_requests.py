"""Requests that ask for too much or make no sense, budgets, and live streams."""

import re
from itertools import pairwise

import pytest
import reference
from asked import CHUNKS, COLUMNS, ROWS
from jobs import BLOCK, PRUNED

CELLS = ROWS * COLUMNS


def answers(found, name):
    """The answers of a job's rounds, of one request each."""
    assert "error" not in found[name], found[name]
    return [each[0] for each in found[name]]


@pytest.fixture(scope="module")
def pad(models):
    _, processor = reference.parts(str(models["qwen3"]))
    return processor.tokenizer.convert_tokens_to_ids("<|video_pad|>")


def test_a_wrong_request_is_an_error_of_its_own_and_the_engine_goes_on(gated, pad):
    one, none, own, times, some, new, last = answers(gated, "one frame")
    assert one["prompt"].count(pad) == CELLS
    assert none["error"].endswith("video: expected at least one frame, got none")
    assert "a request cannot set threshold: the server's settings hold" in own["error"]
    assert "3 times are those of 2 tubelets of 2 frames, but the video has 4" in times["error"]
    assert len(some["tokens"]) == len(last["tokens"]) == 8
    # The budget of 14 tokens holds exactly, also where everything changes.
    assert some["prompt"].count(pad) <= 14
    assert new["prompt"].count(pad) <= 14


def test_streams_need_the_context_of_kept_cells(gated):
    refused, later = answers(gated, "streams in full context")
    assert 'streams need context="kept"' in refused["error"]
    assert len(later["tokens"]) == 8


def test_streams_are_bounded_and_told_apart(gated):
    found = answers(gated, "streams qwen3")
    other, same, late, again = found[CHUNKS:]
    assert "remembers max_streams=1 streams and has as many" in other["error"]
    assert "chunk 0 came before with other pixels: two streams have one name" in same["error"]
    assert "chunk 7 is not the next one; expected chunk 3" in late["error"]
    assert again["prompt"] == found[CHUNKS - 1]["prompt"]
    assert again["tokens"] == found[CHUNKS - 1]["tokens"]


def test_a_streams_earlier_chunks_are_never_prefilled_again(gated, stock, models):
    """Tokens of earlier frames that a new chunk makes vLLM prefill again; whole blocks are counted.

    One video that grows is another one for the prefixes' cache. So it is for EVS and VidCom2, which
    choose among the frames of a whole clip, and so need it as one video.
    """
    _, processor = reference.parts(str(models["qwen3"]))
    tokenizer = processor.tokenizer
    end, pad = map(tokenizer.convert_tokens_to_ids, ("<|vision_end|>", "<|video_pad|>"))
    found = {"patchgate": answers(gated, "streams qwen3")[:CHUNKS]}
    found |= {name: answers(stock, f"grown, {name}") for name in PRUNED}
    again: dict[str, list[int]] = {name: [] for name in found}
    for name, each in found.items():
        for before, now in pairwise(each):
            video = len(before["prompt"]) - before["prompt"][::-1].index(end)  # ids up to its end
            if name == "patchgate":  # the prompt begins with what it was, byte for byte
                assert now["prompt"][:video] == before["prompt"][:video]
            again[name].append(max(0, video // BLOCK * BLOCK - now["cached"]))
    print(again)
    assert again["patchgate"] == [0] * (CHUNKS - 1)
    assert all(count > 0 for name in PRUNED for count in again[name])
    counts = {name: each[-1]["prompt"].count(pad) for name, each in found.items()}
    assert counts["EVS"] == counts["VidCom2"] == counts["whole"] // 2  # they did prune


def test_times_go_on_from_chunk_to_chunk(gated, models):
    _, processor = reference.parts(str(models["qwen3"]))
    prompt = answers(gated, "streams qwen3")[CHUNKS - 1]["prompt"]
    times = [
        float(t) for t in re.findall(r"<([\d.]+) seconds>", processor.tokenizer.decode(prompt))
    ]
    assert times == sorted(times)
    assert times[0] < 1 <= times[-1] < CHUNKS  # a chunk has a second
