"""Streams: earlier chunks stay what they were, streams are bounded and told apart.

Letters: T tubelets, N cells.
"""

import pytest
import torch
from test_serving_gating import GEOMETRY, GRID, N, frames, rows_of

import patchgate
from patchgate.colour import rgb_to_ycbcr
from patchgate.serving.gating import Cells, kept_cells
from patchgate.serving.settings import ServingSettings
from patchgate.serving.streams import Streams

CHUNK = 4  # frames: two tubelets
CLIP = frames(20, {3: 5, 6: 0, 9: 11, 16: 2})


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def streams(clock=None, **given):
    settings = ServingSettings.read({"context": "kept", **given}, GEOMETRY)
    return Streams(settings, clock or Clock())


def chunk(number, clip=CLIP):
    return rows_of(clip[number * CHUNK : (number + 1) * CHUNK])


def push(store, name, number, clip=CLIP, seconds=1.0):
    opened = store.opened(name, number)
    return store.gated(opened, chunk(number, clip), (CHUNK // 2, 6, 8), seconds)


def test_chunks_are_what_one_gate_says_of_the_whole_video():
    store = streams()
    found = [push(store, "cam", k) for k in range(5)]
    gate = patchgate.Gate.of(ServingSettings.read({}, GEOMETRY).gate)
    whole = gate.push(rgb_to_ycbcr(CLIP)).kind.view(5, -1) == 2  # [5, 2 * N]
    for number, (own, expected) in enumerate(zip(found, whole, strict=True)):
        kept = kept_cells(own.video.cells)
        if expected.any():
            assert torch.equal(kept, expected), number
        else:  # nothing is new: the first cell stands for the chunk
            assert kept.nonzero().flatten().tolist() == [0]
    assert [each.start_seconds for each in found] == [0, 1, 2, 3, 4]
    # A cell that changes within a tubelet is new in the next one, too.
    assert [each.video.tokens for each in found] == [N + 1, 2, 2, 1, 1]


def test_an_earlier_chunk_never_changes():
    """The tokens of a frame are the same, whatever came after it."""
    store = streams()
    first = [push(store, "cam", k) for k in range(5)]
    for number, before in enumerate(first):
        again = push(store, "cam", number)
        for one, other in zip(again.video, before.video, strict=True):
            same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
            assert same
        assert again.start_seconds == before.start_seconds


def test_a_later_chunk_can_be_encoded_without_the_earlier_ones():
    """The tower's input names no token of another chunk."""
    store = streams()
    push(store, "cam", 0)
    video = push(store, "cam", 1).video
    cells = Cells.of(video.cells, video.source, CHUNK // 2)
    assert int(cells.source.max()) >= video.tokens  # what the gate says, since the stream began
    kept = cells.with_rows(video.rows, "kept")
    assert kept.source[kept.mask].tolist() == [0, 1]
    assert int(kept.source.max()) < kept.number == video.tokens == 2


def test_streams_do_not_mix():
    store, other = streams(), frames(20, {2: 1, 8: 3}, seed=9)
    mixed = []
    for k in range(3):
        mixed.append(push(store, "one", k).video.cells)
        push(store, "two", k, other)
    alone = streams()
    for k, cells in enumerate(mixed):
        assert torch.equal(push(alone, "one", k).video.cells, cells)


def test_two_streams_with_one_name_are_an_error():
    store, other = streams(), frames(20, {2: 1}, seed=9)
    push(store, "cam", 0)
    with pytest.raises(ValueError, match="chunk 0 came before with other pixels: two streams"):
        push(store, "cam", 0, other)
    push(store, "cam", 1)  # the first goes on


def test_a_stream_expires_and_may_begin_again():
    clock = Clock()
    store = streams(clock, stream_seconds=10)
    before = store.opened("cam", 0)
    push(store, "cam", 0)
    clock.now = 9
    push(store, "cam", 1)
    clock.now = 18.9
    push(store, "cam", 2)  # 9.9 s later
    clock.now = 40
    with pytest.raises(ValueError, match="had no request for 10 s and was forgotten"):
        push(store, "cam", 3)
    assert len(store) == 0
    again = store.opened("cam", 0)
    assert again.begun != before.begun  # caches must not take one for the other
    with pytest.raises(ValueError, match="no such stream is known"):
        store.gated(before, chunk(0), (2, 6, 8), 1.0)


def test_no_more_streams_than_allowed():
    clock = Clock()
    store = streams(clock, max_streams=2, stream_seconds=10)
    push(store, "a", 0)
    clock.now = 5
    push(store, "b", 0)
    with pytest.raises(ValueError, match="remembers max_streams=2 streams and has as many"):
        push(store, "c", 0)
    push(store, "b", 1)
    clock.now = 11  # a is forgotten
    push(store, "c", 0)
    push(store, "b", 2)


@pytest.mark.parametrize("number", [2, 7])
def test_a_chunk_out_of_order_is_an_error(number):
    store = streams()
    push(store, "cam", 0)
    with pytest.raises(ValueError, match="is not the next one; expected chunk 1"):
        push(store, "cam", number if number < 5 else 4)


def test_what_else_cannot_be():
    store = streams()
    push(store, "cam", 0)
    opened = store.opened("cam", 1)
    with pytest.raises(ValueError, match="patches, those of chunk 1"):
        store.gated(opened, chunk(1), (4, 6, 4), 1.0)
    with pytest.raises(ValueError, match="the length of chunk 1 is not known"):
        store.gated(opened, chunk(1), (2, 6, 8), None)
    assert push(store, "cam", 1).video.tokens == 2  # the stream is as it was
    full = Streams(ServingSettings.read({}, GEOMETRY))
    with pytest.raises(ValueError, match='streams need context="kept"'):
        full.opened("cam", 0)


def test_a_budget_holds_for_each_chunk():
    random = torch.Generator().manual_seed(2)
    noise = torch.randint(0, 256, (20, 3, *GRID.size), generator=random, dtype=torch.uint8)
    store = streams(max_tokens_per_second=N, scene_cut=None)
    counts = [push(store, "cam", k, noise).video.tokens for k in range(4)]
    assert all(count <= N for count in counts)
