"""The thread between two stages: order, errors, leaving early, how far it works ahead."""

import contextlib
import threading
import time

import pytest

from patchgate.pipeline.prefetch import prefetch


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not [t for t in threading.enumerate() if t.name == "patchgate-prefetch"]


def wait_until(true):
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("depth", [1, 3])
def test_the_same_items_in_order(depth):
    assert list(prefetch(iter(range(100)), depth)) == list(range(100))
    assert list(prefetch(iter(()), depth)) == []
    assert list(prefetch(iter([None, False]), depth)) == [None, False], "no item ends it"


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield from (1, 2, 3)
        raise LookupError("the fourth")

    got = []
    with pytest.raises(LookupError, match="the fourth"):
        got.extend(iter_into(got, prefetch(items(), 8)))
    assert got == [1, 2, 3]


def iter_into(got, items):
    for item in items:
        got.append(item)
    return ()


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit, MemoryError])
def test_every_kind_of_error_is_handed_over(error):
    def items():
        yield 1
        raise error

    made = prefetch(items())
    assert next(made) == 1
    with pytest.raises(error):
        next(made)


def test_items_are_made_in_a_thread_of_their_own():
    (maker,) = set(prefetch(threading.current_thread() for _ in range(3)))
    assert maker is not threading.current_thread()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_it_works_ahead_but_so_far_only(depth):
    made = []

    def items():
        for number in range(50):
            made.append(number)
            yield number

    with contextlib.closing(prefetch(items(), depth)) as ahead:
        for taken in range(1, 6):
            next(ahead)
            most = taken + depth + 1  # in the queue, and one in the producer's hands
            wait_until(lambda most=most: len(made) == most)
            time.sleep(0.02)
            assert len(made) == most


@pytest.mark.parametrize("leave", ["close", "drop", "error"])
def test_who_leaves_early_stops_and_closes_the_producer(leave):
    closed_in = []

    def items():
        try:
            number = 0
            while True:
                yield (number := number + 1)
        finally:
            closed_in.append(threading.current_thread().name)

    ahead = prefetch(items())
    assert next(ahead) == 1
    if leave == "close":
        ahead.close()
    elif leave == "drop":
        del ahead
    else:
        with pytest.raises(ZeroDivisionError):
            ahead.throw(ZeroDivisionError)
    assert closed_in == ["patchgate-prefetch"], "before leaving was over"


def test_one_that_never_began_has_no_thread():
    prefetch(iter([1])).close()


def test_what_has_no_close_needs_none():
    ahead = prefetch(iter([1, 2, 3]))
    assert next(ahead) == 1
    ahead.close()


def test_the_producer_has_the_consumers_stream(monkeypatch):
    """A thread begins on the device's default stream: what it makes would not be ready for ours."""
    current = threading.local()

    @contextlib.contextmanager
    def stream(which):
        current.stream = which
        yield
        del current.stream

    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.current_stream", lambda: "the consumer's")
    monkeypatch.setattr("torch.cuda.stream", stream)
    assert list(prefetch(current.stream for _ in range(2))) == ["the consumer's"] * 2
