"""From the reading thread to whoever iterates: which pictures are taken, and which are dropped."""

from __future__ import annotations

import threading

import pytest
from live_cases import until

from patchgate.live.handover import Handover, Picture
from patchgate.live.meter import Meter


def picture(number, gap=False, arrived=None):
    return Picture(number, float(number), float(number) if arrived is None else arrived, gap=gap)


def made(policy="newest", room=4, max_delay=None, now=lambda: 100.0):
    meter = Meter(now)
    return Handover(policy, room, max_delay, meter), meter


def numbers(found):
    return [each.frame for each in found]


def test_the_newest_takes_the_place_of_the_others_and_keeps_their_gap():
    handover, meter = made()
    assert handover.poll(1) is None
    for number in range(3):
        handover.offer(picture(number, gap=number == 1))
    [last] = handover.poll(5)
    assert (last.frame, last.gap) == (2, True)
    assert meter.stats().dropped == {"newer": 2}
    assert handover.poll(1) is None


def test_all_of_them_wait_for_room():
    handover, meter = made("all", room=2)
    offered = []

    def offer():
        for number in range(5):
            offered.append(handover.offer(picture(number)))

    thread = threading.Thread(target=offer, daemon=True)
    thread.start()
    until(lambda: len(offered) == 2)
    got = []
    while len(got) < 5:
        got += numbers(handover.take(1, lambda: None))
    thread.join(10)
    assert got == [0, 1, 2, 3, 4]
    assert meter.stats().dropped == {}


def test_batches_have_one_form_and_no_gap_inside():
    handover, _ = made("all", room=9)
    for number in range(5):
        handover.offer(picture(number, gap=number == 2))
    assert numbers(handover.poll(9)) == [0, 1]
    assert numbers(handover.poll(2)) == [2, 3]
    assert numbers(handover.poll(9)) == [4]


def test_late_ones_are_dropped_but_for_the_last():
    handover, meter = made("all", room=9, max_delay=0.5)
    for number, arrived in enumerate((98.0, 99.0, 99.6, 99.8)):
        handover.offer(picture(number, gap=number == 0, arrived=arrived))
    [found] = handover.poll(1)
    assert found.frame == 2
    assert found.gap
    assert numbers(handover.poll(9)) == [3]
    handover.offer(picture(9, arrived=1.0))
    assert numbers(handover.poll(9)) == [9]
    assert meter.stats().dropped == {"delay": 2}


def test_an_error_comes_after_the_pictures_that_wait_and_once():
    handover, _ = made("all")
    handover.offer(picture(1))
    handover.finish(ConnectionError("gone"))
    handover.finish(None)
    assert numbers(handover.poll(9)) == [1]
    with pytest.raises(ConnectionError, match="gone"):
        handover.poll(9)
    assert handover.poll(9) == []


@pytest.mark.parametrize("policy", ["newest", "all"])
def test_closing_ends_whoever_waits(policy):
    handover, _ = made(policy, room=1)
    ended = []
    taker = threading.Thread(target=lambda: ended.append(handover.take(1, lambda: None)))
    taker.start()
    handover.close()
    taker.join(10)
    assert ended == [[]]
    assert not handover.offer(picture(0))
    full, _ = made("all", room=1)
    full.offer(picture(0))
    giver = threading.Thread(target=lambda: ended.append(full.offer(picture(1))))
    giver.start()
    full.close()
    giver.join(10)
    assert ended == [[], False]


def test_waiting_has_an_end():
    now = [0.0]
    handover, _ = made(now=lambda: now[0])
    now[0] = 5.0
    assert handover.take(1, lambda: 4.9) is None
