"""Many cameras and one tower."""

from __future__ import annotations

import threading
import time

import clips
import numpy as np
import pytest
import torch
from gated_cases import flicker, noise
from live_cases import PATIENCE, SOON, assert_same_tokens, camera, plays, seconds_of, ts, until
from servers import silent, web
from stream_cases import RULES, gated

import patchgate
from patchgate import FrameBatch, Gate, _ops
from patchgate.grid import fitted
from patchgate.live.budget import Budget
from patchgate.live.camera import Seen
from patchgate.live.changes import boxes_of
from patchgate.live.events import LiveEvent

CELL = 14


def shown(frames, seconds=None):
    """An iterable of pictures ``[T, 3, H, W]``."""
    for i, frame in enumerate(frames):
        yield frame, i * 0.04 if seconds is None else seconds[i]


def all_of(watch):
    """Everything that a watch gives, by camera."""
    found = {}
    with watch:
        for seen in watch:
            found.setdefault(seen.camera, []).append(seen)
    return found


ALL = {"policy": "all"}


@pytest.mark.parametrize("rule", ["kept", "watched"])
def test_each_camera_has_the_tokens_that_it_has_alone(rule):
    tower = gated("siglip", **RULES[rule])
    clips_ = {"door": flicker(9, 1), "yard": noise(7, 2), "hall": flicker(12, 3)}
    found = all_of(patchgate.watch({name: shown(clip) for name, clip in clips_.items()}, tower,
                                   opening=ALL))  # fmt: skip
    assert {name: len(seen) for name, seen in found.items()} == {"door": 9, "yard": 7, "hall": 12}
    for name, clip in clips_.items():
        alone = patchgate.Tokenizer(tower)
        for seen, (picture, second) in zip(found[name], shown(clip), strict=True):
            want = alone.push(FrameBatch.from_rgb(picture, [second]))
            for field, other in want.tensors().items():
                got = getattr(seen.chunk, field)
                if got.is_floating_point():
                    torch.testing.assert_close(got, other, atol=1e-10, rtol=1e-10)
                else:
                    assert got.equal(other), field
            assert seen.delay > 0
            assert seen.limit == tower.gate_settings.limit
            assert not seen.restart


def test_dropped_frames_of_two_cameras_are_harmless():
    """Over TCP, each the newest: the tokens are those of exactly the frames that were taken."""
    taken = {"a": [], "b": []}
    with camera(plays(ts(60))) as (one, _), camera(plays(ts(60, size=(96, 64)))) as (two, _):
        cameras = {"a": f"tcp://127.0.0.1:{one}", "b": f"tcp://127.0.0.1:{two}"}
        with patchgate.watch(cameras, size=(42, 56)) as watch:
            for seen in watch:
                taken[seen.camera].append(seen)
                time.sleep(0.005)
                late = all(stats.live.decoded > 50 for stats in watch.stats.values())
                if late and all(taken.values()):
                    break
    for seen in taken.values():
        assert 1 <= len(seen) < 60
        tokenizer = patchgate.Tokenizer(gate=Gate(size=(42, 56)))
        want = tokenizer.joined([tokenizer.push(each.frames) for each in seen])
        got = tokenizer.joined([each.chunk for each in seen])
        assert_same_tokens(got, want)


def test_cameras_that_fail_do_not_stop_the_others():
    events = []
    with camera(plays(ts(40), ends=True), plays(ts(40))) as (port, _), silent() as nobody:
        closed = f"tcp://u:hunter2@127.0.0.1:{_closed()}"
        cameras = {
            "dies": f"tcp://127.0.0.1:{port}",
            "silent": f"tcp://127.0.0.1:{nobody}",
            "closed": closed,
            "good": shown([np.full((56, 56, 3), 9, np.uint8)] * 5),
        }
        with patchgate.watch(cameras, size=28, on_event=lambda *e: events.append(e),
                             opening={"policy": "all", "reconnect": SOON, "open_timeout": 1.0}
                             ) as watch:  # fmt: skip
            counts = dict.fromkeys(cameras, 0)
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                seen = next(watch)
                counts[seen.camera] += 1
                told = {(name, event.what) for name, event in events}
                if counts["dies"] >= 70 and {("silent", "stalled"), ("closed", "lost")} <= told:
                    break
            stats = watch.stats
    assert counts["good"] == 5
    assert counts["dies"] >= 70
    assert {("dies", "opened"), ("dies", "lost"), ("dies", "back"), ("good", "ended")} <= told
    assert ("silent", "stalled") in told
    assert stats["good"].live.state == "ended"
    assert stats["good"].frames == 5
    assert stats["closed"].live.reconnects > 0
    assert "hunter2" not in str(events) + str(stats)


def test_cameras_that_cannot_be_opened_are_told_in_the_users_words():
    """Wrong credentials, no such host, only sound, no video at all: the good one goes on."""
    sound, events, over = clips.clip("audio.m4a").read_bytes(), [], threading.Event()

    def endless():
        for i in range(100_000):
            yield np.full((28, 28, 3), 7, np.uint8), i * 0.04
            if over.wait(0.005):
                return

    with web({"/a": sound, "/t": b"words " * 99}) as server:
        base = server.base.replace("://", "://u:hunter2@")
        cameras = {
            "401": f"{base}/status/401",
            "unknown": "rtsp://u:hunter2@no-such-host.invalid/x",
            "sound": f"{base}/a",
            "text": f"{base}/t",
            "good": endless(),
        }
        opening = {"reconnect": SOON, "open_timeout": PATIENCE}
        hear = lambda *e: events.append(e)  # noqa: E731
        with patchgate.watch(cameras, size=28, on_event=hear, opening=opening) as watch:
            end, seen = time.monotonic() + PATIENCE, 0
            while time.monotonic() < end:
                seen += len(watch.work(0.1))
                told = {name: e.text for name, e in events if e.what in ("lost", "stalled")}
                if told.keys() >= cameras.keys() - {"good"} and seen > 20:
                    break
            assert "good" not in told
            stats = watch.stats
        over.set()
    assert "name and password (401)" in told["401"]
    assert "no-such-host.invalid" in told["unknown"]
    assert "has no video stream: it holds audio" in told["sound"]
    assert "not a video" in told["text"] or "is a playlist" in told["text"]
    assert stats["good"].frames > 20
    assert "hunter2" not in str(events) + str(stats)


def test_none_gets_more_than_its_share():
    """All have frames at any time, one of them 10 times as many waiting."""
    over = threading.Event()

    def endless():
        for i in range(100_000):
            if over.is_set():
                return
            yield np.full((28, 28, 3), i % 200, np.uint8), i * 0.04

    counts = dict.fromkeys("abcd", 0)
    with patchgate.watch({}, size=28, opening=ALL) as watch:
        watch.add("a", endless(), room=640)
        for name in "bcd":
            watch.add(name, endless(), room=64)
        until(lambda: all(stats.live.decoded > 60 for stats in watch.stats.values()))
        for _ in range(120):
            counts[next(watch).camera] += 1
        over.set()
    assert max(counts.values()) - min(counts.values()) <= 1


def test_sixteen_at_once_share_the_gates_calls(monkeypatch):
    streams, op = [], _ops.gate

    def counted(tubelets, *rest):
        streams.append(len(tubelets))
        return op(tubelets, *rest)

    monkeypatch.setattr(_ops, "gate", counted)
    taken = {str(n): [] for n in range(16)}
    with camera(plays(ts(40))) as (port, _):
        cameras = dict.fromkeys(taken, f"tcp://127.0.0.1:{port}")
        with patchgate.watch(cameras, size=(42, 56), opening=ALL) as watch:
            until(lambda: all(stats.live.decoded >= 38 for stats in watch.stats.values()))
            while min(map(len, taken.values())) < 20:
                seen = next(watch)
                taken[seen.camera].append(seen)
    assert max(streams) == 16
    assert sum(streams) / len(streams) > 4
    for seen in taken.values():
        tokenizer = patchgate.Tokenizer(gate=Gate(size=(42, 56)))
        want = tokenizer.joined([tokenizer.push(each.frames) for each in seen])
        assert_same_tokens(tokenizer.joined([each.chunk for each in seen]), want)


def _closed():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_add_and_remove_while_it_runs():
    over = threading.Event()

    def endless(value):
        for i in range(100_000):
            yield np.full((28, 28, 3), value, np.uint8), float(i)
            if over.wait(0.002):
                return

    names = []
    with patchgate.watch({"a": endless(1)}, size=28) as watch:
        names.append(next(watch).camera)
        watch.add("b", endless(2), fps=1000)
        while "b" not in names:
            names.append(next(watch).camera)
        watch.remove("a")
        later = [next(watch).camera for _ in range(20)]
        assert set(later[5:]) == {"b"}
        with pytest.raises(ValueError, match="'b' is watched already"):
            watch.add("b", endless(3))
        with pytest.raises(KeyError):
            watch.remove("a")
        with pytest.raises(TypeError, match=r"opening: expected options of .*, got 'speed'"):
            watch.add("c", endless(3), speed=2)
        closer = threading.Timer(0.2, watch.close)
        closer.start()
        begin = time.monotonic()
        for _ in watch:
            pass
        assert time.monotonic() - begin < 5
    over.set()
    with pytest.raises(ValueError, match="it is closed"):
        watch.add("d", endless(4))


def test_an_iterable_that_falls_silent_is_told_in_time():
    events, over = [], threading.Event()

    def stops():
        yield np.zeros((28, 28, 3), np.uint8), 0.0
        over.wait(2.0)
        yield np.zeros((28, 28, 3), np.uint8), 2.0

    found = all_of(patchgate.watch({"a": stops()}, size=28, opening={"read_timeout": 0.4},
                                   on_event=lambda *e: events.append(e)))  # fmt: skip
    assert len(found["a"]) == 2
    told = [event for _, event in events if event.what in ("stalled", "back")]
    assert [event.what for event in told] == ["stalled", "back"]
    assert 0.4 < told[0].at - float(found["a"][0].frames.arrived) < 1.4


def test_a_tower_that_raises_for_one_camera(monkeypatch):
    tower = gated("siglip", **RULES["kept"])
    events = []
    push = patchgate.Tokenizer._pushing

    def breaks(self, frames):
        if float(frames.pts_seconds[0]) == 7.0:
            raise RuntimeError("out of order")
        return push(self, frames)

    monkeypatch.setattr(patchgate.Tokenizer, "_pushing", breaks)
    bad, good = noise(4, 0), noise(4, 1)
    found = all_of(patchgate.watch(
        {"bad": shown(bad, [0.0, 7.0, 8.0, 9.0]), "good": shown(good)}, tower, opening=ALL,
        on_event=lambda *e: events.append(e)))  # fmt: skip
    assert [len(found[name]) for name in ("bad", "good")] == [3, 4]
    told = [(name, event.what) for name, event in events if event.what in ("failed", "back")]
    assert told == [("bad", "failed"), ("bad", "back")]
    failed = next(event for _, event in events if event.what == "failed")
    assert failed.text == "bad: its tokens cannot be made: out of order"


def test_a_picture_of_another_size_begins_anew_where_the_grid_does():
    import qwen_cases

    from patchgate.gather import PixelSpec
    from patchgate.gather.resize import Keep

    spec = PixelSpec(Keep(), 0.5, 0.25, qwen_cases.P, qwen_cases.M, 2)
    tower = patchgate.gated(qwen_cases.tower("qwen25"), spec, threshold=20)
    side = qwen_cases.P * qwen_cases.M
    pictures = [np.full((4 * side, 4 * side, 3), 50, np.uint8)] * 4
    pictures += [np.full((6 * side, 4 * side, 3), 90, np.uint8)] * 4
    found = all_of(patchgate.watch({"a": ((p, i / 25) for i, p in enumerate(pictures))}, tower,
                                   opening=ALL))["a"]  # fmt: skip
    assert [tuple(seen.chunk.kind.shape) for seen in found] == [(1, 4, 4)] * 2 + [(1, 6, 4)] * 2


def test_callbacks():
    pictures = [np.full((56, 84, 3), 60, np.uint8) for _ in range(4)]
    pictures[1][14:28, 42:56] = 200
    pictures[2][14:28, 42:56] = 200
    pictures[3][:] = np.random.default_rng(0).integers(0, 256, (56, 84, 3), np.uint8)
    tokens, changes, events = [], [], []
    patchgate.watch({"a": ((p, i / 10) for i, p in enumerate(pictures))}, size=(56, 84),
                    search_radius=None, scene_cut=0.8, opening=ALL,
                    on_tokens=lambda name, chunk: tokens.append((name, len(chunk.frame))),
                    on_change=lambda *args: changes.append(args),
                    on_event=lambda name, event: events.append(event.what)).run()  # fmt: skip
    assert tokens == [("a", 24), ("a", 1), ("a", 0), ("a", 24)]
    assert changes == [("a", [(0, 0, 84, 56)], 0.0), ("a", [(42, 14, 56, 28)], 0.1),
                       ("a", [(0, 0, 84, 56)], 0.3)]  # fmt: skip
    assert events == ["opened", "scene cut", "ended"] or events == ["opened", "ended", "scene cut"]


# --- parts


@pytest.mark.parametrize(
    ("fit", "want"),
    [("stretch", [(20, 10, 40, 20)]), ("crop", [(30, 10, 40, 20)]), ("pad", [(20, 0, 40, 20)])],
)
def test_boxes_lie_in_the_pixels_of_the_frames(fit, want):
    """A grid of 4 x 4 cells of 7 pixels; the cell in row 1, column 1 changed."""
    kind = torch.zeros(4, 4, dtype=torch.uint8)
    kind[1, 1] = 2
    picture = (40, 80)
    found = boxes_of(kind, fitted(picture, (28, 28), fit), picture)
    assert found == want


def test_boxes_join_what_touches_or_overlaps():
    kind = torch.zeros(8, 8, dtype=torch.uint8)
    for row, column in ((0, 0), (1, 1), (0, 7), (4, 2), (4, 4), (5, 3), (7, 7)):
        kind[row, column] = 2
    kind[6, 6] = 1  # it moved
    place = fitted((8, 8), (8, 8), "stretch")
    assert boxes_of(kind, place, (8, 8)) == [(0, 0, 2, 2), (7, 0, 8, 1), (2, 4, 5, 6), (7, 7, 8, 8)]
    ring = torch.full((5, 5), 2, dtype=torch.uint8)
    ring[1:4, 1:4] = 0
    ring[2, 2] = 2
    place = fitted((5, 5), (5, 5), "stretch")
    assert boxes_of(ring, place, (5, 5)) == [(0, 0, 5, 5)]
    assert boxes_of(torch.zeros(5, 5, dtype=torch.uint8), place, (5, 5)) == []


def test_a_budget_climbs_to_its_ceiling_and_comes_back():
    budget = Budget(0.1, 4.0, 16.0)
    seen = [budget.now]
    for delay in [0.2] * 20:
        if budget.saw(delay):
            seen.append(budget.now)
    assert seen == pytest.approx([4, 4 * 2**0.5, 8, 8 * 2**0.5, 16])
    for _ in range(24):
        assert not budget.saw(0.01)
    assert budget.saw(0.01)
    assert not budget.saw(0.2)  # one late frame changes nothing
    for delay in [0.07] * 99:  # neither late nor early: it stays
        assert not budget.saw(delay)
    back = [budget.now for _ in range(80) if budget.saw(0.01)]
    assert back[-1] == 4.0
    assert Budget(None, 4, 16).saw(99) is False
    zero = Budget(0.1, 0.0, 2.0)
    for _ in range(3):
        zero.saw(1)
    assert 0.5 < zero.now < 2


def test_late_tokens_raise_the_threshold_and_the_results_limit(monkeypatch):
    """Tokens come after 30 ms where 20 are allowed, and then at once again."""
    delay = [0.03]
    monkeypatch.setattr(Seen, "delay", property(lambda seen: delay[0]))
    pictures = ((np.full((28, 28, 3), 10, np.uint8), i / 25) for i in range(10_000))
    limits = []
    with patchgate.watch({"a": pictures}, size=28, max_delay=0.02, ceiling=8, opening=ALL) as watch:
        for seen in watch:
            limits.append((seen.threshold, seen.limit))
            if seen.threshold == 8:
                delay[0] = 0.0
            if delay[0] == 0 and seen.threshold == 4:
                break
        stats = watch.stats["a"]
    ratio = 2**0.25
    steps = [4, 4 * ratio, 4 * ratio**2, 4 * ratio**3, 8]
    assert sorted({threshold for threshold, _ in limits}) == pytest.approx(steps)
    assert all(limit == int(threshold * 49) for threshold, limit in limits)
    changes = [threshold for _, threshold in stats.steps]
    assert changes == pytest.approx([*steps[1:], *steps[-2::-1]])
    assert stats.threshold == 4


def test_a_gate_goes_on_with_another_threshold():
    frames = torch.full((4, 1, 28, 28), 100, dtype=torch.uint8)
    frames[1:] = 105
    gate = Gate(threshold=4, patch=14)
    assert bool((gate.push(frames[:1]).kind == 2).all())
    gate.set_threshold(6)
    result = gate.push(frames[1:2])
    assert not result.kind.any()
    assert result.limit.tolist() == [6 * 49]
    gate.set_threshold(4)
    assert bool((gate.push(frames[2:3]).kind == 2).all())
    with pytest.raises(ValueError, match=r"threshold: expected 0\.\.255"):
        gate.set_threshold(300)
    assert gate.settings.threshold == 4
    assert not gate.push(frames[3:]).kind.any()


@pytest.mark.parametrize(("options", "message"), [
    ({"max_delay": 0}, "max_delay: expected 0.001"),
    ({"ceiling": 1}, "ceiling: expected 4..255 grey levels, got 1"),
    ({"opening": {"chunk": 4}}, "opening: expected options of"),
    ({"gate": Gate(), "threshold": 4}, "watch: expected a gate or rules"),
])  # fmt: skip
def test_what_cannot_be_watched(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        patchgate.watch({}, **options)
    with pytest.raises(ValueError, match="is a file"):
        patchgate.watch({"a": shown([]), "b": clips.clip("h264.mp4")})


def test_it_ends_when_all_have_ended_and_says_what_came():
    events = []
    found = all_of(patchgate.watch({"a": shown(noise(3)), "b": 5 * [(noise(1)[0], None)]}, size=28,
                                   opening=ALL, on_event=lambda *e: events.append(e)))  # fmt: skip
    assert {name: len(seen) for name, seen in found.items()} == {"a": 3, "b": 5}
    assert seconds_of([seen.frames for seen in found["a"]]) == [0.0, 0.04, 0.08]
    assert all(isinstance(event, LiveEvent) for _, event in events)
    until(lambda: sum(event.what == "ended" for _, event in events) == 2)


def test_closing_sixteen_takes_no_longer_than_one():
    with silent() as port:
        watch = patchgate.watch({str(i): f"tcp://127.0.0.1:{port}" for i in range(16)}, size=28)
        begin = time.monotonic()
        watch.close()
        assert time.monotonic() - begin < 1.0
    assert list(watch) == []
