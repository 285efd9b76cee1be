"""Calls that change an object wholly or not at all, and one at a time."""

import copy
import pickle
import threading

import pytest

from patchgate._calls import Calls


class Counter:
    """Two numbers that belong together."""

    def __init__(self) -> None:
        self.calls = Calls("Counter")
        self.one = self.other = 0
        self.undone = 0

    def add(self, during=lambda: None) -> int:
        def work() -> int:
            self.one += 1
            during()
            self.other += 1
            return self.one

        return self.calls.run(self.mark, work)

    def mark(self):
        before = self.one, self.other

        def undo() -> None:
            self.undone += 1
            self.one, self.other = before

        return undo


def raising(error):
    def during():
        raise error

    return during


@pytest.mark.parametrize("error", [ValueError("no"), MemoryError(), KeyboardInterrupt()])
def test_what_fails_changes_nothing(error):
    counter = Counter()
    assert counter.add() == 1
    with pytest.raises(type(error)):
        counter.add(raising(error))
    assert (counter.one, counter.other) == (1, 1)
    assert counter.add() == 2


def test_a_call_inside_a_call_is_refused_and_the_outer_one_goes_on():
    counter = Counter()

    def again():
        with pytest.raises(RuntimeError, match="Counter: used by two threads at once"):
            counter.add()

    assert counter.add(again) == 1
    assert (counter.one, counter.other, counter.undone) == (1, 1, 0)


def test_a_second_thread_is_refused_while_the_first_is_inside():
    counter, inside, go_on = Counter(), threading.Event(), threading.Event()

    def wait():
        inside.set()
        assert go_on.wait(60)

    first = threading.Thread(target=lambda: counter.add(wait))
    first.start()
    assert inside.wait(60)
    with pytest.raises(RuntimeError, match="give each thread one of its own"):
        counter.add()
    go_on.set()
    first.join()
    assert counter.add() == 2


def test_many_threads_lose_nothing_silently():
    counter, refused, done = Counter(), [], []

    def work():
        for _ in range(500):
            try:
                counter.add()
                done.append(1)
            except RuntimeError:
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.one == counter.other == len(done)
    assert len(done) + len(refused) == 2000


def test_an_undo_that_was_interrupted_is_ended_before_anything_else():
    """Ctrl-C, and once more while the first one is being dealt with."""
    counter = Counter()
    counter.add()
    real, times = counter.mark, []

    def mark():
        undo = real()

        def interrupted() -> None:
            times.append(1)
            if len(times) == 1:
                raise KeyboardInterrupt
            undo()

        return interrupted

    counter.mark = mark
    with pytest.raises(KeyboardInterrupt):
        counter.add(raising(ValueError()))
    assert (counter.one, counter.other) == (2, 1)  # torn
    counter.calls.settle()
    assert (counter.one, counter.other) == (1, 1)
    assert counter.add() == 2


def test_copies_are_objects_of_their_own():
    counter = Counter()

    def inside():
        for other in (copy.deepcopy(counter.calls), pickle.loads(pickle.dumps(counter.calls))):
            assert other.run(lambda: lambda: None, lambda: 7) == 7

    counter.add(inside)
    assert counter.one == 1
