"""Cameras that stall, fail, come back as others, and are closed in every state."""

from __future__ import annotations

import gc
import itertools
import random
import resource
import threading
import time

import numpy as np
import pytest
from live_cases import PATIENCE, SOON, camera, plays, seconds_of, taken, tokens_of, ts, until
from servers import silent

import patchgate
from patchgate import Backoff

SIZES = [(64, 48), (96, 64)]


def opened(port, **options):
    options = {"open_timeout": PATIENCE, "reconnect": SOON, "policy": "all", **options}
    return patchgate.open_live(f"tcp://127.0.0.1:{port}", **options)


def heard(**options):
    """Keyword arguments, and the list of events that they fill."""
    events = []
    return {"on_event": events.append, **options}, events


def names(events):
    return [event.what for event in events]


def rising(seconds):
    return all(b > a for a, b in itertools.pairwise(seconds))


# --- silence


def test_a_server_that_says_nothing_ends_the_first_iteration_in_time():
    with silent() as port:
        begin = time.monotonic()
        live = opened(port, open_timeout=0.5)
        assert time.monotonic() - begin < 0.3  # it returned at once
        with pytest.raises(TimeoutError, match=rf"127\.0\.0\.1:{port} .*open_timeout=0\.5 seconds"):
            next(live)
        assert 0.45 < time.monotonic() - begin < 2
        assert list(live) == []


def test_an_iterable_that_says_nothing():
    over = threading.Event()

    def items(first):
        for i in range(first):
            yield np.zeros((8, 8, 3), np.uint8), float(i)
        over.wait(60)

    live = patchgate.open_live(items(0), open_timeout=0.3)
    with pytest.raises(TimeoutError, match=r"<generator> gave no picture within open_timeout=0\.3"):
        next(live)
    live = patchgate.open_live(items(2), policy="all", read_timeout=0.3)
    assert seconds_of(taken(live, 2)) == [0.0, 1.0]
    with pytest.raises(TimeoutError, match=r"no picture within read_timeout=0\.3"):
        next(live)
    over.set()


def test_a_camera_that_stalls_is_told_in_time_and_opened_again():
    hear, events = heard(read_timeout=0.5)
    with camera(plays(ts(40))) as (port, came), opened(port, **hear) as live:
        first = taken(live, 30)
        until(lambda: "stalled" in names(events))
        stalled = next(event for event in events if event.what == "stalled")
        assert "read_timeout=0.5" in stalled.text
        assert stalled.at - live._meter.last_arrival < 1.5
        later = []
        while not (later and later[-1].gap):
            later.append(next(live))
        assert len(came) == 2
        assert "back" in names(events)
    assert rising(seconds_of(first + later))
    assert live.stats.reconnects == 1
    assert "gave nothing within" in live.stats.error


def test_without_reconnecting_its_error_is_raised_after_its_pictures():
    with camera(plays(ts(40), ends=True)) as (port, came):
        live = opened(port, reconnect=False)
        taken(live, 40)
        with pytest.raises(ConnectionError, match="the stream ended"):
            next(live)
        assert live.stats.delivered == 40
        assert len(came) == 1
    with camera(plays(ts(40))) as (port, _):
        live = opened(port, reconnect=False, read_timeout=0.4)
        taken(live, 30)
        with pytest.raises(TimeoutError, match=r"read_timeout=0\.4"):
            taken(live, 99)


# --- failures


def test_it_comes_back_with_another_size_and_codec():
    scripts = [plays(ts(40), ends=True), plays(ts(40, size=SIZES[1], codec="mpeg2video"))]
    hear, events = heard()
    with camera(*scripts) as (port, _), opened(port, **hear) as live:
        got = taken(live, 60)
    sizes = [(batch.width, batch.height) for batch in got]
    assert sizes == [SIZES[0]] * 40 + [SIZES[1]] * 20
    assert [i for i, batch in enumerate(got) if batch.gap] == [40]
    assert bool(got[40].key_frame[0])
    assert rising(seconds_of(got))
    assert names(events)[:3] == ["opened", "lost", "back"]
    assert live.stats.clock_jumps == 1
    tokens = tokens_of(got, size=(28, 28))
    assert len(tokens.pts_seconds) == 60
    assert (tokens.kind[40] == 2).all()  # the first picture after it is new to the gate


def test_it_goes_on_from_the_first_whole_key_frame():
    """It comes back in the middle of a group of pictures, after half a packet."""
    data = ts(40, gop=8)
    where = len(data) // 2 // 188 * 188
    cut = data[: 188 * 3] + data[where + 99 :]  # its tables, and then the middle of a packet
    with camera(plays(ts(40), ends=True), plays(cut)) as (port, _), opened(port) as live:
        got = taken(live, 48)
    first = got[40]
    assert first.gap
    assert bool(first.key_frame[0])
    whole = {batch.planes[0].numpy().tobytes() for batch in patchgate.open_video(data, chunk=1)}
    assert all(batch.planes[0].numpy().tobytes() in whole for batch in got[40:])


@pytest.mark.parametrize("begin", [0.0, 5000.0])
def test_its_clock_jumps_in_one_connection(begin):
    """The second part of the stream begins anywhere; the demuxer sees one stream."""
    parts = ts(40, begin=20.0), ts(40, begin=begin)
    with camera(plays(*parts)) as (port, _), opened(port) as live:
        got = taken(live, 70)
    assert rising(seconds_of(got))
    assert seconds_of(got)[-1] - seconds_of(got)[0] < 15
    assert live.stats.reconnects == 0


def test_its_stamps_wrap():
    """MPEG's count to 2 ** 33, at 90 kHz: after 95443.7 seconds they begin with 0 again."""
    data = ts(60, begin=95443.0)
    with camera(plays(data)) as (port, _), opened(port) as live:
        got = taken(live, 50)
    seconds = seconds_of(got)
    steps = [b - a for a, b in itertools.pairwise(seconds)]
    assert steps == pytest.approx([0.04] * 49, abs=1e-3)
    assert live.stats.reconnects == 0


def test_lost_packets_are_counted_and_nothing_ends():
    data = bytearray()
    chance = random.Random(3)
    clean = ts(120, gop=12)
    for at in range(0, len(clean), 188):
        if at < 40 * 188 or chance.random() > 0.05:
            data += clean[at : at + 188]
    with camera(plays(bytes(data))) as (port, _), opened(port) as live:
        got = taken(live, 40)
        until(lambda: live.stats.corrupt > 0)
    assert rising(seconds_of(got))
    assert live.stats.reconnects == 0


def test_garbage_is_a_failure_like_others():
    garbage = random.Random(1).randbytes(300_000)
    scripts = [plays(ts(40), ends=True), plays(garbage, ends=True), plays(ts(40))]
    with camera(*scripts) as (port, came), opened(port) as live:
        got = taken(live, 60)
    assert len(came) == 3
    assert [i for i, batch in enumerate(got) if batch.gap] == [40]
    with camera(plays(garbage, ends=True)) as (port, _):
        live = opened(port)
        with pytest.raises((ValueError, OSError), match=rf"127\.0\.0\.1:{port}"):
            next(live)


def test_it_closes_in_the_middle_of_a_frame():
    data = ts(40)
    scripts = [plays(data[: len(data) * 2 // 3 + 77], ends=True), plays(data)]
    with camera(*scripts) as (port, _), opened(port) as live:
        got = taken(live, 45)
    assert any(batch.gap for batch in got)
    assert rising(seconds_of(got))


def test_the_waits_between_attempts_grow_and_the_first_picture_comes_at_once():
    """Five refusals; then the first frame is there within a second of the whole key frame."""
    nothing = plays(ends=True)
    sent = []

    def back(line):
        sent.append(time.monotonic())
        line.send(ts(40))
        line.hold()

    scripts = [plays(ts(40), ends=True), *[nothing] * 4, back]
    rule = Backoff(first=0.05, most=0.2, jitter=0)
    with camera(*scripts) as (port, came), opened(port, reconnect=rule, chunk=1) as live:
        got = taken(live, 41)
        after = time.monotonic() - sent[0]
    assert got[40].gap
    assert after < 1
    waits = [b - a for a, b in itertools.pairwise(came)]
    for wait, least in zip(waits, (0.05, 0.1, 0.2, 0.2, 0.2), strict=True):
        assert wait >= least * 0.95
    assert live.stats.reconnects == 5


# --- the end


@pytest.mark.parametrize("state", ["opening", "waiting for a frame", "full", "between attempts",
                                   "ended", "stuck", "never asked"])  # fmt: skip
def test_close_returns_within_a_second_and_ends_who_waits(state):
    stuck = threading.Event()

    def hangs():
        stuck.wait(60)
        yield  # never

    scripts = {"ended": plays(ts(40), ends=True), "between attempts": plays(ts(40), ends=True)}
    slow = Backoff(first=60, most=60, jitter=0)
    with camera(scripts.get(state, plays(ts(40)))) as (port, _), silent() as nobody:
        live = {
            "opening": lambda: opened(nobody),
            "stuck": lambda: patchgate.open_live(hangs(), open_timeout=None),
            "full": lambda: opened(port, room=2),
            "ended": lambda: opened(port, reconnect=False, policy="newest"),
        }.get(state, lambda: opened(port, reconnect=slow))()
        ended, seen = threading.Event(), []

        def read():
            try:
                for batch in live:
                    seen.append(batch)
            except ConnectionError:
                assert state == "ended"
            ended.set()

        if state not in ("full", "never asked"):
            threading.Thread(target=read, daemon=True).start()
        if state == "full":
            until(lambda: live.stats.decoded > 2)
        elif state == "waiting for a frame":
            until(lambda: len(seen) > 30)
        elif state in ("between attempts", "ended"):
            until(lambda: live.stats.state in ("waiting", "ended"))
        begin = time.monotonic()
        live.close()
        assert time.monotonic() - begin < 1
        if state not in ("full", "never asked"):
            assert ended.wait(1)
        live.close()
        assert list(live) == []
        assert live.stats.state in ("closed", "ended")
        if state != "stuck":
            until(lambda: not live._thread.is_alive(), 5)
        stuck.set()


def test_one_that_nobody_holds_closes_itself():
    with camera(plays(ts(40))) as (port, _):
        live = opened(port)
        next(live)
        thread = live._thread
        del live
        gc.collect()
        until(lambda: not thread.is_alive(), 5)


def test_sixteen_at_once():
    with camera(plays(ts(40))) as (port, came):
        lives = [opened(port) for _ in range(16)]
        for live in lives:
            assert len(taken(live, 30)) == 30
        assert len(came) == 16
        begin = time.monotonic()
        for live in lives:
            live.close()
        assert time.monotonic() - begin < 16
    until(lambda: not any(live._thread.is_alive() for live in lives), 5)


def test_ten_thousand_frames_a_second():
    live = patchgate.open_live((np.zeros((8, 8, 3), np.uint8), i / 1e4) for i in range(20_000))
    seconds = seconds_of(live)
    assert rising(seconds)
    stats = live.stats
    assert stats.decoded == 20_000
    assert stats.delivered + stats.dropped.get("newer", 0) == 20_000


def test_pictures_are_freed_without_a_search_for_circles():
    """A circle would hold 3 MB of a large picture until Python looks for it, seldom in torch."""

    def alive():
        return sum(type(each).__name__ == "VideoFrame" for each in gc.get_objects())

    gc.collect()
    before = alive()
    gc.disable()
    try:
        with camera(plays(ts(40), ends=True), plays(ts(40))) as (port, _), opened(port) as live:
            taken(live, 70)
            assert live.stats.reconnects == 1
            assert alive() - before < 20  # of 70: those that wait
    finally:
        gc.enable()


@pytest.mark.slow
def test_memory_is_flat_over_a_hundred_thousand_frames():
    """From a transport stream, again and again over new connections."""

    def frames(live, count):
        for _ in range(count):
            next(live)
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    data = ts(500, gop=50)
    with camera(plays(*[data] * 4, ends=True)) as (port, _), opened(port) as live:
        warm = frames(live, 20_000)
        assert frames(live, 80_000) - warm < 30_000  # KiB


def test_threads_of_the_decoder_hold_back_no_picture():
    """Four that take a picture each would hold back three, beside those of demuxer and parser."""
    with camera(plays(ts(40))) as (port, _), opened(port, threads=4, read_timeout=None) as live:
        until(lambda: live.stats.decoded >= 38)
        assert live.stats.reconnects == 0
        assert live.stats.delay_p50 is None  # nobody has asked for one yet
