"""Times that never run back, and the pictures of a lower rate."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchgate.live.backoff import Backoff, Waits
from patchgate.live.clock import LEAP, Pace, RisingClock
from patchgate.live.meter import Meter, quantile


def played(stamps, step=0.04):
    clock = RisingClock()
    return [clock.at(stamp, 100 + step * i) for i, stamp in enumerate(stamps)], clock


def test_stamps_that_rise_are_the_times_bit_for_bit():
    stamps = [95443.7 + i / 30 for i in range(50)]
    times, clock = played(stamps)
    assert times == stamps
    assert clock.jumps == 0


@pytest.mark.parametrize("new", [0.0, 5.0, 1e6, -3.0, 95443.0], ids=str)
def test_a_clock_that_was_set_goes_on_behind_what_was_before(new):
    before = [95443.7 + i * 0.04 for i in range(10)]
    after = [new + i * 0.04 for i in range(10)]
    times, clock = played([*before, *after])
    assert times[:10] == before
    assert clock.jumps == 1
    steps = [b - a for a, b in itertools.pairwise(times)]
    assert steps == pytest.approx([0.04] * 19, abs=1e-6)


def test_one_bad_stamp_moves_no_other():
    stamps = [i * 0.04 for i in range(20)]
    for bad in (0.0, 1e5, stamps[9]):
        spoilt = [*stamps[:10], bad, *stamps[11:]]
        times, clock = played(spoilt)
        assert times[:10] + times[11:] == stamps[:10] + stamps[11:]
        assert stamps[9] < times[10] < stamps[11]
        assert clock.jumps == 0


def test_a_pause_on_both_clocks_is_a_pause():
    clock = RisingClock()
    assert clock.at(7.0, 0.0) == 7.0
    assert clock.at(3607.0, 3600.5) == 3607.0
    assert (
        clock.at(3607.0 + LEAP, 3600.5) == 3607.0 + LEAP
    )  # a file is read faster than it was made
    assert clock.jumps == 0


def test_without_stamps_the_arrival_counts():
    times, _ = played([None] * 4)
    assert times == pytest.approx([0, 0.04, 0.08, 0.12])


def test_after_a_reconnection_it_goes_on_by_what_has_passed():
    clock = RisingClock()
    clock.at(50.0, 10.0)
    clock.reopened()
    assert clock.at(1.0, 12.5) == 52.5
    assert clock.at(1.04, 12.6) == pytest.approx(52.54)
    assert clock.jumps == 1


@given(st.lists(st.tuples(st.one_of(st.none(), st.floats(-1e9, 1e9)), st.floats(0, 100),
                          st.booleans()), max_size=40))  # fmt: skip
def test_times_always_rise(steps):
    clock, arrived, last = RisingClock(), 0.0, None
    for stamp, passed, again in steps:
        arrived += passed
        if again:
            clock.reopened()
        time = clock.at(stamp, arrived)
        assert last is None or time > last
        last = time


def test_a_lower_rate_takes_the_pictures_that_are_shown_then():
    pace = Pace(10)
    times = [3 + i / 25 for i in range(26)]
    got = [time for time in times if pace.takes(time)]
    assert got == pytest.approx(
        [3.0, 3.12, 3.2, 3.32, 3.4, 3.52, 3.6, 3.72, 3.8, 3.92, 4.0], abs=1e-9
    )
    slow = Pace(25)
    assert all(slow.takes(time) for time in (0, 0.5, 0.54, 7, 7.04))
    assert all(Pace(None).takes(time) for time in (0, 0, 0))


def test_waits_double_up_to_the_most_and_begin_again():
    waits = Waits(Backoff(0.5, 4, jitter=0))
    assert [waits.next() for _ in range(5)] == [0.5, 1, 2, 4, 4]
    waits.reset()
    assert waits.next() == 0.5
    some = [Waits(Backoff(1, 1, jitter=0.5)).next() for _ in range(50)]
    assert 0.5 <= min(some) < max(some) <= 1
    with pytest.raises(ValueError, match=r"Backoff\.most: expected at least first=2 s, got 1"):
        Backoff(2, 1)
    with pytest.raises(
        ValueError, match=r"Backoff\.first: expected 0\.001\.\.86400 seconds, got 0"
    ):
        Backoff(0)


def test_quantiles_and_rates():
    assert quantile([], 0.5) is None
    assert [quantile(list(range(1, 101)), share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    now = [10.0]
    meter = Meter(lambda: now[0])
    for _ in range(51):
        meter.arrived(now[0])
        now[0] += 0.1
    stats = meter.stats()
    assert stats.fps == pytest.approx(10, rel=0.05)
    assert stats.last_frame_age == pytest.approx(0.1)
    now[0] += 60
    assert meter.stats().fps == 0
