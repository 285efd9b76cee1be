"""Questions: the truth answers them right, wrong readings wrong, and no sampling knows the frames.

Letters: T frames, n the frames of one item.
"""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading.looks import ABSENT, THERE, UNCLEAR, Look, fair, presence, probes, said, settled
from reading.questions import MOST, PLACES, STRINGS, Question, ask
from reading.scenes.record import hide
from reading.truth import LETTERS, Clip, Item

FPS, T, SIZE = 25, 150, (240, 320)
GLYPHS = np.array([[0, 0, 1, 1]], np.float32)
BOX = (20.0, 30.0, 80.0, 44.0)


def item(text, first=0, end=T, box=BOX, step=(0.0, 0.0), visible=None, group="g", kind="text"):
    """A string that moves by ``step`` pixels (x, y) a frame."""
    path = np.arange(end - first)[:, None] * np.tile(np.array(step), 2)  # [n, 4]
    seen = np.ones(end - first, bool) if visible is None else visible
    return Item(text, kind, group, first, (np.array(box) + path).astype(np.float32), seen, GLYPHS)


def clip(*items, seed=0):
    return Clip("test", "test", seed, FPS, np.zeros((0, *SIZE, 3), np.uint8), items)


def kinds(questions, kind):
    return [q for q in questions if q.kind == kind]


def truth(of, question):
    return [said(of, look) for look in question.looks]


@st.composite
def clips(draw):
    """Strings that come, go, return, move and are covered."""
    words = st.text(LETTERS, min_size=2, max_size=4)
    pool = draw(st.lists(words, min_size=2, max_size=6, unique=True))
    items = []
    for _ in range(draw(st.integers(1, 14))):
        first = draw(st.integers(0, T - 10))
        end = draw(st.integers(first + 1, T))
        left, top = draw(st.integers(0, 3)) * 70 + 5, draw(st.integers(0, 6)) * 30 + 5
        step = draw(st.sampled_from([(0, 0), (0, 0), (1.5, 0), (0.5, 1.25), (0, -1)]))
        visible = np.ones(end - first, bool)
        covered = draw(st.integers(0, end - first))
        visible[covered : covered + draw(st.integers(0, 20))] = False
        text, group = draw(st.sampled_from(pool)), draw(st.sampled_from("ab"))
        place = (left, top, left + 50, top + 14)
        new = item(text, first, end, place, step, visible, group)
        cover = np.zeros((T, 4), np.float32)
        cover[first:end] = new.boxes
        items = [*hide(items, cover), new]
    return clip(*items, seed=draw(st.integers(0, 99)))


@given(clips())
def test_truth_answers_right(of):
    questions = ask(of, 0)
    assert all(q.answer_from(truth(of, q)) == q.answer for q in questions)
    assert questions == ask(of, 0)  # deterministic
    counts = Counter(q.kind for q in questions)
    assert all(counts[kind] <= most for kind, most in MOST.items())


@given(clips())
def test_nothing_read_is_never_right(of):
    for question in ask(of, 0):
        assert question.answer_from([""] * len(question.looks)) != question.answer


@given(clips(), st.randoms(use_true_random=False))
def test_any_readings_are_answered(of, random):
    for question in ask(of, 0):
        words = ["", "XX", *question.sought]
        question.answer_from([random.choice(words) for _ in question.looks])


@given(clips())
def test_no_uniform_sampling_takes_these_frames(of):
    frames = {look.frame for question in ask(of, 0) for look in question.looks}
    for rate in (1, 5, FPS // 2):
        assert not frames & set(range(0, T, FPS // rate))


def test_what_is_asked_early_midway_and_late():
    frames = [q.looks[0].frame for q in kinds(ask(clip(item("ABC", 10, 140)), 0), "what")]
    early, midway, late = sorted(frames)
    assert 13 <= early < 55 < midway < 97 < late < 140


def test_settled_waits_after_every_appearance():
    visible = np.ones(100, bool)
    visible[40:50] = False
    frames = settled(item("ABC", 20, 120, visible=visible), FPS)
    assert not set(frames) & (set(range(23)) | set(range(60, 73)))
    assert {23, 73, 119} <= set(frames.tolist())


def test_probes_are_fair_uneven_and_close():
    times = probes(clip(item("ABC")), np.random.default_rng(0))
    assert all(fair(t, FPS) for t in times)
    assert len(set(np.diff(times))) > 1
    assert max(np.diff(times)) <= 9


def test_count_of_what_returns():
    three = [item("ABC", 10, 30), item("ABC", 50, 80), item("ABC", 100, 104)]
    between = item("XYZ", 30, 50)
    of = clip(*three, between)
    count, other = sorted(kinds(ask(of, 0), "count"), key=lambda q: -q.answer)
    assert (count.sought[0], count.answer) == ("ABC", 3)
    assert (other.sought[0], other.answer) == ("XYZ", 1)
    gone = ["" if 30 <= look.frame < 50 else "ABC" for look in count.looks]
    assert count.answer_from(gone) == 2
    assert count.answer_from(["ABC"] * len(gone)) == 1  # what is never taken away


def test_count_adds_up_places():
    there, here = (20, 100, 80, 114), (120, 100, 180, 114)
    of = clip(item("ABC", 10, 90), item("ABC", 40, T, there), item("ABC", 20, 50, here))
    (count,) = kinds(ask(of, 0), "count")
    assert count.answer == 3
    assert {look.box for look in count.looks} == {BOX, there, here}
    stale = ["" if look.box == here else "ABC" for look in count.looks]
    assert count.answer_from(stale) == 2


def test_once_and_many_times_are_counted_in_turn():
    cells = [(5 + 60 * (k % 5), 5 + 30 * (k // 5)) for k in range(30)]
    crowd = [item(f"X{letter}", 0, 50, (left, top, left + 50, top + 14))
             for letter, (left, top) in zip(LETTERS, cells, strict=False)]  # fmt: skip
    again = [item(each.text, 60, T, each.boxes[0]) for each in crowd[:4]]
    answers = Counter(q.answer for q in kinds(ask(clip(*crowd, *again), 0), "count"))
    assert answers == {1: 4, 2: 4}


def test_count_sees_every_appearance_and_gap():
    of = clip(*(item("ABC", t, t + 6) for t in range(5, 140, 12)))
    (count,) = kinds(ask(of, 0), "count")
    assert count.answer == 12


def test_count_is_not_asked_where_no_fair_frame_shows_it():
    assert not kinds(ask(clip(item("ABC", 34, 37), item("XYZ", 0, T)), 0), "count")[1:]


def test_covered_for_a_moment_is_not_gone():
    visible = np.ones(T, bool)
    visible[60:90] = False
    of = clip(item("ABC", visible=visible))
    state = presence(of, "ABC", BOX)
    assert set(state[60:90]) == {UNCLEAR}
    assert (state[30], presence(of, "XYZ", BOX)[30]) == (THERE, ABSENT)
    (count,) = kinds(ask(of, 0), "count")
    assert count.answer == 1
    assert not any(60 <= look.frame < 90 for look in count.looks)


def places(count):
    return [(20.0, 20.0 * k, 70.0, 20.0 * k + 14) for k in range(1, count + 1)]


def test_order_is_by_first_appearance():
    starts = [100, 25, 60]
    of = clip(*(item(t, s, T, b) for t, s, b in zip("ABC", starts, places(3), strict=True)))
    (order,) = kinds(ask(of, 0), "order")
    assert order.answer == ("B", "C", "A")
    late = ["" if s == "B" and look.frame < 80 else s if said(of, look) else ""
            for look, s in zip(order.looks, order.sought, strict=True)]  # fmt: skip
    assert order.answer_from(late) == ("C", "B", "A")
    missed = ["" if s == "C" else said(of, look)
              for look, s in zip(order.looks, order.sought, strict=True)]  # fmt: skip
    assert order.answer_from(missed) == ("B", "A")


def test_one_frame_does_not_tell_an_order():
    looks = (Look(7, BOX, "text"), Look(7, BOX, "text"), Look(11, BOX, "text"))
    order = Question("order", "g", looks, ("A", "B", "B"), ("A", "B"))
    assert order.answer_from(["A", "B", "B"]) is None
    assert order.answer_from(["A", "", "B"]) == ("A", "B")


def test_order_is_not_asked_of_what_appears_together():
    starts = [60, 60, 62, 100]
    of = clip(*(item(t, s, T, b) for t, s, b in zip("ABCD", starts, places(4), strict=True)))
    assert not kinds(ask(of, 0), "order")


def test_order_takes_three_to_five():
    of = clip(*(item(LETTERS[k], 15 + 12 * k, T, b) for k, b in enumerate(places(10))))
    lengths = {len(q.answer) for q in kinds(ask(of, 0), "order")}
    assert lengths
    assert STRINGS[0] <= min(lengths) <= max(lengths) <= STRINGS[1]


@pytest.mark.parametrize("kind", ["text", "shape"])
def test_where_offers_the_old_place(kind):
    moving = item("disc" if kind == "shape" else "ABC", 0, T, (10, 10, 50, 40), (1.5, 1), kind=kind)
    of = clip(moving)
    (where,) = kinds(ask(of, 0), "where")
    assert len(where.looks) == len({look.box for look in where.looks}) == PLACES
    assert where.looks[where.answer].box == moving.at(where.looks[0].frame)
    assert {look.kind for look in where.looks} == {kind}
    path = moving.boxes.tolist()
    assert any(list(look.box) in path[: look.frame] for look in where.looks)
    for wrong in set(range(PLACES)) - {where.answer}:
        stale = [moving.text if k == wrong else "" for k in range(PLACES)]
        assert where.answer_from(stale) == wrong
    assert where.answer_from([moving.text] * PLACES) is None  # a ghost beside the true one


def test_where_is_not_asked_of_what_hardly_moves():
    assert not kinds(ask(clip(item("ABC", step=(0.1, 0.05))), 0), "where")


def test_groups_share_the_questions():
    crowd = [item("AB", 0, T, (5, 5 + k, 50, 19 + k), group="many") for k in range(40)]
    few = [item("CD", 0, T, (100, 5 + k, 150, 19 + k), group="few") for k in range(3)]
    asked = Counter(q.group for q in kinds(ask(clip(*crowd, *few), 0), "what"))
    assert asked == {"many": MOST["what"] - 9, "few": 9}
