"""What a stream remembers of its tokens: the same as a table of all, in time that does not grow."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_cases import SETTINGS, chunk_of, random_tokens, streamed
from torch import Tensor

from patchgate import Gate, MergeStream, TokenChunk
from patchgate.merging import ledger
from patchgate.merging.ledger import Ledger
from patchgate.tokens.chunk import joined, split

every_setting = pytest.mark.parametrize(
    "asked", [*SETTINGS, {"ratio": 0.7, "keep_grid": True}], ids=str
)


# ---- the table


@pytest.fixture(params=[3, 1 << 16])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(ledger, "_BLOCK", request.param)
    return request.param


@pytest.mark.parametrize("width", [0, 1, 2])
def test_it_is_a_table(block: int, width: int) -> None:
    random = torch.Generator().manual_seed(0)
    book, table = Ledger(width), torch.zeros(0, width, dtype=torch.int64)
    for step in range(12):
        rows = torch.randint(100, (step * 5 % 8, width), generator=random)
        book.append(rows)
        table = torch.cat([table, rows])
        assert len(book) == len(table)
        if len(table):
            names = torch.randint(len(table), (2, 3, 4), generator=random)
            assert torch.equal(book.rows(names), table[names])
            near = names.unique()
            assert torch.equal(book.keep_near(names), table[near])
            assert torch.equal(book.rows(names.flip(0)), table[names.flip(0)])
            assert not bool(book.forgotten(names).any())
    every = torch.arange(len(table))
    assert torch.equal(book.rows(every), table)


def test_what_is_forgotten_is_gone_and_what_is_kept_stays(block: int) -> None:
    book, table = Ledger(1), torch.arange(100, 120)[:, None]
    book.append(table)
    kept = torch.tensor([3, 17, 4, 3])
    book.keep_near(kept, only=True)
    assert len(book) == 20
    assert book.forgotten(torch.arange(20)).logical_not().nonzero().flatten().tolist() == [3, 4, 17]
    assert book.rows(kept).flatten().tolist() == [103, 117, 104, 103]
    book.append(torch.tensor([[7], [8]]))
    assert book.rows(torch.tensor([21, 17, 20])).flatten().tolist() == [8, 117, 7]
    assert book.keep_near(torch.tensor([4, 20])).flatten().tolist() == [104, 7]
    assert book.rows(torch.tensor([3, 17])).flatten().tolist() == [103, 117]
    with pytest.raises(ValueError, match="token 5 is forgotten"):
        book.rows(torch.tensor([3, 5, 20]))


def test_a_copy_goes_its_own_way(block: int) -> None:
    book = Ledger(1)
    book.append(torch.arange(5)[:, None])
    other = book.copy()
    book.append(torch.tensor([[50], [60]]))
    other.append(torch.tensor([[70]]))
    other.keep_near(torch.tensor([0]), only=True)
    assert book.rows(torch.arange(7)).flatten().tolist() == [0, 1, 2, 3, 4, 50, 60]
    assert len(other) == 6


# ---- streams


def in_pictures(tokens: TokenChunk, frame: int) -> Tensor:
    """Some ids of tokens up to a frame, all that later frames name among them."""
    names = tokens.source[frame + 1 :].unique()
    return names[names < int((tokens.frame <= frame).sum())]


@every_setting
@settings(max_examples=15)
@given(st.integers(1, 7), st.lists(st.integers(0, 6), max_size=6))
def test_a_stream_that_is_told_what_can_come_gives_the_same(
    asked, window: int, cuts: list[int]
) -> None:
    video = random_tokens(t=15)
    tokens, want = chunk_of(video), streamed(video, cuts, window=window, **asked)
    stream, rest, out, before = MergeStream(window=window, **asked), tokens, [], 0
    for frames in [*cuts, 15]:
        first, rest = split(rest, frames, before)
        before += len(first.kind)
        out += stream.push(first, in_pictures(tokens, before - 1).int())
    got = joined([*out, *stream.flush()])
    for name in TokenChunk._fields[:-2]:  # no light
        assert torch.equal(getattr(got, name), getattr(want, name)), name


def returning(frames: int) -> TokenChunk:
    """Token 0 is shown by cell 0 in the first frame and in the last, and by none between."""
    kind = torch.zeros(frames, 1, 2, dtype=torch.uint8)
    kind[:-1] = 2
    names = torch.arange(2 * (frames - 1)).view(-1, 1, 2)
    source = torch.cat([names, torch.tensor([[[0, 2 * frames - 3]]])])
    frame, row, column = (kind == 2).nonzero(as_tuple=True)
    return TokenChunk(
        torch.randn(len(frame), 4, generator=torch.Generator().manual_seed(0)),
        frame, torch.stack([row, column], 1), torch.arange(frames).double(),
        torch.ones(frames).double(), source, kind, torch.zeros(frames, 1, 2, 2, dtype=torch.int8),
    )  # fmt: skip


def test_a_token_that_comes_back_is_known_or_refused() -> None:
    chunk = returning(8)
    first, last = split(chunk, 7)
    want = streamed_at_once(chunk)
    for names in (None, torch.tensor([0]), torch.tensor([[0, 13], [0, 0]], dtype=torch.int32)):
        stream = MergeStream(window=2, threshold=0.0)
        out = [*stream.push(first, names), *stream.push(last), *stream.flush()]
        assert torch.equal(joined(out).source, want.source)
    stream = MergeStream(window=2, threshold=0.0)
    stream.push(first, torch.tensor([12, 13]))
    for _ in range(2):  # a push that fails leaves the stream as it was
        with pytest.raises(ValueError, match=r"source: .* got 0 in cell \(0, 0\) of frame 7"):
            stream.push(last)
    with pytest.raises(ValueError, match=r"names: expected those of the push before .*, got 5"):
        stream.push(last._replace(source=torch.tensor([[[12, 13]]])), torch.tensor([5]))
    again = last._replace(source=torch.tensor([[[12, 13]]]))
    assert len(joined([*stream.push(again), *stream.flush()]).kind) == 2


def test_a_push_without_frames_forgets_too() -> None:
    chunk = returning(8)
    first, last = split(chunk, 7)
    stream = MergeStream(window=2, threshold=0.0)
    stream.push(first)
    assert stream.push(split(last, 0)[0], torch.tensor([12])) == []
    for _ in range(2):
        with pytest.raises(ValueError, match=r"source: .* got 0 in cell \(0, 0\) of frame 7"):
            stream.push(last)
    with pytest.raises(ValueError, match=r"names: expected those of the push before .*, got 5"):
        stream.push(split(last, 0)[0], torch.tensor([5]))
    again = last._replace(source=torch.tensor([[[12, 13]]]))  # 13 is shown by the last frame
    assert len(joined([*stream.push(again), *stream.flush()]).kind) == 2


def streamed_at_once(chunk: TokenChunk) -> TokenChunk:
    stream = MergeStream(window=2, threshold=0.0)
    return joined([*stream.push(chunk), *stream.flush()])


@pytest.mark.parametrize(("names", "error", "message"), [
    ([1], TypeError, "names: expected int32 or int64 ids such as gate.picture_ids, got list"),
    (torch.tensor([0.0]), TypeError, "names: .* got torch.float32"),
    (torch.tensor([14]), ValueError, r"names: expected ids of the 14 tokens so far, got 14\.\.14"),
    (torch.tensor([-1, 3]), ValueError, r"got -1\.\.3"),
])  # fmt: skip
def test_names_of_no_tokens_are_refused(names, error, message) -> None:
    stream = MergeStream(window=2, threshold=0.0)
    with pytest.raises(error, match=message):
        stream.push(split(returning(8), 7)[0], names)
    assert stream.push(split(returning(8), 7)[0], torch.tensor([], dtype=torch.int64))


@pytest.mark.parametrize("precision", [1, 2])
def test_a_gates_picture_ids_are_enough(precision: int) -> None:
    """Cells move by parts of cells, so that tokens are hidden and come back."""
    random = torch.Generator().manual_seed(1)
    gate = Gate(patch=4, threshold=6, search_radius=4, on_motion="reuse", scene_cut=None,
                motion_precision=precision)  # fmt: skip
    told, whole, cut = (MergeStream(window=3, ratio=0.8, spatial=True) for _ in range(3))
    picture, got, want, tokens = torch.randint(256, (40, 40), generator=random), [], [], 0
    back = 0  # tokens that were shown by no cell, and are again
    shown = torch.zeros(0, dtype=torch.int64)
    for frame in range(60):
        picture = picture.roll(tuple(torch.randint(-3, 4, (2,), generator=random).tolist()), (0, 1))
        picture[8:14, 8:14] = torch.randint(256, (6, 6), generator=random)
        result = gate.push(picture[None, None, :16, :16].byte())
        _, row, column = (result.kind == 2).nonzero(as_tuple=True)
        seen = result.source.unique()
        back += int((~torch.isin(seen[seen < tokens], shown)).sum())
        shown, tokens = seen, tokens + len(row)
        chunk = TokenChunk(
            torch.randn(len(row), 5, generator=random), torch.full_like(row, frame),
            torch.stack([row, column], 1), torch.tensor([frame / 30.0]).double(),
            torch.tensor([1 / 30.0]).double(), result.source, result.kind, result.motion,
        )  # fmt: skip
        now = told.push(chunk, gate.picture_ids)
        again = cut.push(chunk, gate.picture_ids)
        assert len(now) == len(again)
        for one, other in zip(now, again, strict=True):
            assert all(torch.equal(x, getattr(other, n)) for n, x in one.tensors().items())
        got += now
        if frame % 7 == 3:  # it goes on elsewhere
            cut = MergeStream(window=3, ratio=0.8, spatial=True)
            cut.load_state_dict(told.state_dict())
        want += whole.push(chunk)
    assert back > 5
    for name in TokenChunk._fields[:-2]:  # no light
        assert torch.equal(getattr(joined(got), name), getattr(joined(want), name)), name
