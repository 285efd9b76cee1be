"""Ops called with spoiled arguments refuse or answer; forked workers tell how their cases end."""

import collections
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import Limits, Outcome, outcomes
from hostile.arguments import MAKERS, every_op

HOSTILE = Path(__file__).parents[1] / "hostile"


def test_every_op_is_called() -> None:
    assert sorted(MAKERS) == every_op()


def test_hostile_calls_are_answered_or_refused() -> None:
    """In a process of its own, which has no threads yet that a fork would lose."""
    command = [sys.executable, str(HOSTILE), "--calls", "1500", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1500 hostile calls" in done.stdout
    tally = collections.Counter(
        line.split()[1] for line in done.stdout.splitlines() if ": " in line[:40]
    )
    assert {"answered:", "refused:"} <= tally.keys()  # neither of them alone


# ---- forked workers


def ended(run, cases: int = 3, **limits) -> list[Outcome]:
    return sorted(outcomes(run, range(cases), Limits(**limits), workers=2))


def test_a_workers_verdicts_come_home() -> None:
    found = ended(lambda case: f"case {case}", 450)
    assert [(each.case, each.verdict) for each in found] == [(i, f"case {i}") for i in range(450)]


def test_a_case_that_kills_its_worker_is_told_and_the_others_go_on() -> None:
    def run(case: int) -> str:
        if case == 1:
            print("last words", flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        if case == 3:
            os._exit(7)
        return "fine"

    found = ended(run, 5)
    assert [each.case for each in found] == [0, 1, 2, 3, 4]
    assert [each.verdict for each in found[::2]] == ["fine"] * 3
    assert found[1].verdict == "died: signal SIGSEGV"
    assert found[1].told.startswith("last words\n")
    assert "Segmentation fault" in found[1].told  # and where
    assert found[3].verdict == "died: exit status 7"


def test_a_case_that_hangs_is_killed() -> None:
    def run(case: int) -> str:
        while case == 1:
            time.sleep(0.1)
        return "fine"

    found = ended(run, seconds=0.5)
    assert [each.verdict.split(" (")[0] for each in found] == [
        "fine", "hang: more than 0.5 s", "fine"
    ]  # fmt: skip


def test_a_case_that_others_keep_from_running_does_not_hang() -> None:
    """Five processes share one processor: what takes 0.5 s alone takes more than two."""
    processors = os.sched_getaffinity(0)
    busy = [sys.executable, "-c", "while True: pass"]
    os.sched_setaffinity(0, {min(processors)})  # what is started from here on has it, too
    others = [subprocess.Popen(busy) for _ in range(4)]

    def run(case: int) -> str:
        begin, wall = time.process_time(), time.monotonic()
        while time.process_time() - begin < 0.5:
            pass
        return "slow" if time.monotonic() - wall > 1.5 else "quick"

    try:
        assert [each.verdict for each in ended(run, 1, seconds=1.5)] == ["slow"]
    finally:
        os.sched_setaffinity(0, processors)
        for other in others:
            other.kill()
            other.wait()


def test_what_a_case_raises_is_told_with_its_place() -> None:
    found = ended(lambda case: [0, 1][case])
    assert found[2].verdict.startswith("raised: IndexError at test_hostile.py:")


def test_a_case_that_takes_memory_is_told_even_if_it_gives_it_back() -> None:
    def run(case: int) -> str:
        if case == 1:
            bytes(b"x" * (400 << 20))  # a system may take back some idle pages meanwhile
        return "fine"

    found = ended(run, resident=100 << 20)
    assert found[1].verdict.startswith("memory: 0.")
    assert [found[0].verdict, found[2].verdict] == ["fine", "fine"]


def test_address_space_is_limited() -> None:
    def run(case: int) -> str:
        try:
            bytearray(300 << 20)
        except MemoryError:
            return "refused"
        return "given"

    assert {each.verdict for each in ended(run, address=100 << 20)} == {"refused"}


def test_it_stops_when_it_is_time() -> None:
    def run(case: int) -> str:
        time.sleep(0.05)
        return "fine"

    begin = time.monotonic()
    found = list(outcomes(run, range(10_000), Limits(), workers=2, until=begin + 1))
    assert 4 <= len(found) < 60
    assert time.monotonic() - begin < 10


@pytest.mark.slow
def test_forty_thousand_hostile_calls() -> None:
    command = [sys.executable, str(HOSTILE), "--calls", "40000", "--first", "1000000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr
