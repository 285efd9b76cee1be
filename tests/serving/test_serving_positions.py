"""Kept cells stand where they stand in the dense prompt.

Letters: T tubelets, h w cells.
"""

import pytest
import torch

from patchgate.serving.positions import (
    Shown,
    clock_places,
    even_places,
    qwen3_positions,
    qwen25_positions,
)

TEXT, PAD, IMAGE, BEGIN, END = 1, 2, 3, 4, 5
WORDS = 3  # ids of a time


def qwen3_ids(masks, kept=True):
    """Ids of a video's frames; with ``kept`` only of cells in the mask."""
    ids = []
    for mask in masks:
        count = int(mask.sum()) if kept else mask.numel()
        if count:
            ids += [TEXT] * WORDS + [BEGIN] + [PAD] * count + [END]
    return ids


def mask_of(*frames):
    """``[T, 2, 3]`` bool, from lists of the kept cells' numbers."""
    mask = torch.zeros(len(frames), 6, dtype=torch.bool)
    for row, cells in zip(mask, frames, strict=True):
        row[cells] = True
    return mask.view(-1, 2, 3)


def everything(mask):
    return torch.ones_like(mask)


ALL = list(range(6))
SOME = mask_of(ALL, [4], [], [0, 5], [])


def dense_and_kept(masks, prefix=2, between=1, suffix=4):
    """The dense prompt, the kept one, and which of the dense ids are in it."""
    ids, kept, chosen = [TEXT] * prefix, [TEXT] * prefix, [True] * prefix
    dense_at, kept_at = [], []
    for mask in masks:
        dense_at.append(len(ids))
        kept_at.append(len(kept))
        ids += qwen3_ids(mask, kept=False)
        kept += qwen3_ids(mask)
        for frame in mask:
            some = bool(frame.any())
            chosen += [some] * (WORDS + 1) + frame.flatten().tolist() + [some]
        ids += [TEXT] * between
        kept += [TEXT] * between
        chosen += [True] * between
    ids, kept = ids + [TEXT] * suffix, kept + [TEXT] * suffix
    return ids, kept, chosen + [True] * suffix, dense_at, kept_at


@pytest.mark.parametrize("masks", [[SOME], [everything(SOME)], [SOME, mask_of(ALL, [], [2])]])
def test_qwen3_positions_are_those_of_the_dense_prompt(masks):
    ids, kept, chosen, dense_at, kept_at = dense_and_kept(masks)
    words = [[WORDS] * len(mask) for mask in masks]
    whole = [Shown(a, everything(m), w) for a, m, w in zip(dense_at, masks, words, strict=True)]
    dense, delta = qwen3_positions(ids, whole, BEGIN)
    assert delta == int(dense.max()) + 1 - len(ids)
    items = [Shown(a, m, w) for a, m, w in zip(kept_at, masks, words, strict=True)]
    places, delta = qwen3_positions(kept, items[::-1], BEGIN)
    assert torch.equal(places, dense[:, torch.tensor(chosen)])
    assert delta == int(dense.max()) + 1 - len(kept)


def test_qwen3_positions_by_hand():
    """The numbers of a small prompt: a video of two frames, of which the second keeps one cell."""
    mask = mask_of(ALL, [4])
    ids = [TEXT, *qwen3_ids(mask), TEXT]
    places, delta = qwen3_positions(ids, [Shown(1, mask, [WORDS] * 2)], BEGIN)
    first = [[5, 5, 5, 5, 5, 5], [5, 5, 5, 6, 6, 6], [5, 6, 7, 5, 6, 7]]
    expected = torch.tensor(
        [[0, 1, 2, 3, 4, *row, 8, 9, 10, 11, 12, one, 16, 17]
         for row, one in zip(first, [13, 14, 14], strict=True)]
    )  # fmt: skip
    assert torch.equal(places, expected)
    assert delta == 18 - len(ids)


def test_images_beside_a_video():
    mask, image = SOME, torch.ones(1, 4, 2, dtype=torch.bool)
    ids = [TEXT, *[IMAGE] * 8, TEXT, *qwen3_ids(mask), TEXT]
    items = [Shown(10, mask, [WORDS] * len(mask)), Shown(1, image)]
    places, _ = qwen3_positions(ids, items, BEGIN)
    assert places[:, 1:9].tolist() == [[1] * 8, [1, 1, 2, 2, 3, 3, 4, 4], [1, 2] * 4]
    assert places[:, 9].tolist() == [5, 5, 5]  # after the image's longer side


def test_a_prompt_that_lacks_ids_is_an_error():
    mask = mask_of(ALL)
    ids = [TEXT, *qwen3_ids(mask)][:-2]
    with pytest.raises(ValueError, match="the prompt has"):
        qwen3_positions(ids, [Shown(1, mask, [WORDS])], BEGIN)


def test_qwen25_positions_by_hand():
    mask = mask_of(ALL, [], [4])
    ids = [TEXT, *[PAD] * 7, TEXT]
    places, delta = qwen25_positions(ids, [Shown(1, mask, None, [0, 2, 5])])
    assert places.tolist() == [
        [0, 1, 1, 1, 1, 1, 1, 6, 7],
        [0, 1, 1, 1, 2, 2, 2, 2, 7],
        [0, 1, 2, 3, 1, 2, 3, 2, 7],
    ]
    assert delta == 8 - len(ids)


def test_qwen25_positions_are_those_of_the_dense_prompt():
    places = [0, 1, 1, 4, 6]
    whole = everything(SOME)
    ids = [TEXT, *[PAD] * whole.sum(), TEXT, TEXT]
    dense, _ = qwen25_positions(ids, [Shown(1, whole, None, places)])
    kept = [TEXT, *[PAD] * SOME.sum(), TEXT, TEXT]
    found, delta = qwen25_positions(kept, [Shown(1, SOME, None, places)])
    chosen = torch.tensor([True, *SOME.flatten().tolist(), True, True])
    assert torch.equal(found, dense[:, chosen])
    assert delta == int(dense.max()) + 1 - len(kept)


def test_places_in_time():
    assert clock_places([0.5, 0.99, 1.5, 4.0], 2) == [0, 0, 2, 7]
    assert clock_places([0.1 * t for t in range(11)], 10) == list(range(11))  # no 0.29999 -> 2
    assert even_places(4, 1.5) == [0, 1, 3, 4]
