"""The benchmark of live cameras, with a small tower and for a moment."""

import cameras
import live
import live_failures
import pytest
import torch
from proof.towers import Sized

LISTENING = "RLT packed, live sources"


def test_still_cameras_beside_rlt():
    rows = list(live.many(Sized("tiny/16-96"), (1, 3), 1, 8))
    assert [(row["cameras"], row["way"]) for row in rows] == [
        (count, way) for count in (1, 3) for way in ("watch", "RLT packed", LISTENING)
    ]
    assert all(row["frames/s"] > 0 for row in rows)
    assert rows[0]["of one camera"] == rows[1]["of RLT packed"] == 1
    assert rows[3]["worst p99 / mean"] >= 1


def test_a_still_camera_is_still_and_a_changing_one_is_not():
    tower = Sized("tiny/16-96").gated()
    assert live.watched(tower, 2, 8).kept == 0
    film = cameras.changing(0, 96)
    assert not torch.equal(film[0].planes[0], film[1].planes[0])


def test_an_aim_that_is_missed_is_said():
    row = {"way": "watch", "cameras": 32, "of one camera": 0.5, "of RLT packed": 2.0,
           "worst p99 / mean": 1.6}  # fmt: skip
    slow = {"beyond a pass, p99, frames": 0.5, "last quarter's delay / first's": 1.0}
    found = live.judged([row], slow, [0.4, 1.2], [0.1], {"opening": 0.2, "full": 0.9})
    assert [each["met"] for each in found] == ["NO", "yes", "NO", "yes", "yes", "NO", "yes", "yes"]
    assert found[-1]["what"].endswith("(full)")
    assert found[5]["measured"] == pytest.approx(1.2)


@pytest.mark.slow
def test_failures_are_timed():
    assert 0 < live_failures.reconnection(1)[0] < 10
    assert -0.1 < live_failures.stall(1)[0] < 10
    assert len(live_failures.closing()) == 6
