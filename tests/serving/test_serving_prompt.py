"""The ids of prompts whose videos show kept cells only."""

import pytest

from patchgate.serving.prompt import expanded, plain_run, spoken_run

BEGIN, PAD, END = 7, 8, 9


def test_a_frame_has_its_time_and_its_tokens():
    run = spoken_run([3, 0, 1], [[1], [2, 2], [3, 3]], BEGIN, PAD, END)
    assert run.ids == [1, BEGIN, PAD, PAD, PAD, END, 3, 3, BEGIN, PAD, END]
    assert run.tokens == [(2, 4), (9, 9)]
    assert plain_run(3, PAD) == ([PAD] * 3, [(0, 2)])


def test_runs_stand_at_the_placeholders():
    ids = [1, PAD, 2, 3, PAD, 4]
    found = expanded(ids, PAD, [plain_run(3, PAD), spoken_run([2], [[5]], BEGIN, PAD, END)])
    assert found.ids == [1, PAD, PAD, PAD, 2, 3, 5, BEGIN, PAD, PAD, END, 4]
    assert found.begins == [1, 6]
    assert [found.ids[at] for at in found.moved] == [1, PAD, 2, 3, 5, 4]


def test_a_prompt_without_videos_stays():
    assert expanded([1, 2], PAD, []) == ([1, 2], [0, 1], [])


@pytest.mark.parametrize("ids", [[1, 2], [PAD, PAD]])
def test_as_many_placeholders_as_videos(ids):
    with pytest.raises(ValueError, match=f"request's 1 videos, got {ids.count(PAD)}"):
        expanded(ids, PAD, [plain_run(3, PAD)])
