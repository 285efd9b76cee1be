"""``make fuzz``: so many seconds of damaged files and odd command lines; exits with 1 if one harms.

A fault is a crash, more than 20 seconds, more than 2 GB, or an error that is not ours. Its case
can be run again with --case, and its file is kept in build/fuzz.
"""

import argparse
import collections
import os
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "cases"))

import torch
from forked import Limits, Outcome, outcomes

from fuzz.seeds import make
from fuzz.targets import Targets

KEPT = Path(__file__).parents[2] / "build" / "fuzz"
LIMITS = Limits(seconds=20, resident=2 << 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--most", type=int, help="cases at the most")
    parser.add_argument("--case", type=int, help="one case only, in this process")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    torch.set_num_threads(1)  # no threads that a fork would lose
    with tempfile.TemporaryDirectory(prefix="patchgate-fuzz-") as name:
        folder = Path(name)
        targets = Targets(make(folder), folder)
        if given.case is not None:
            print(targets.run(given.case))
            return
        sys.exit(run(targets, folder, given))


def run(targets: Targets, folder: Path, given: argparse.Namespace) -> int:
    """All cases; the exit status."""
    begin = time.monotonic()
    cases = (
        count(given.first) if given.most is None else range(given.first, given.first + given.most)
    )
    tally: collections.Counter[str] = collections.Counter()
    bad = 0
    for end in outcomes(targets.run, cases, LIMITS, given.workers, begin + given.seconds):
        words = end.verdict.split(": ", 1)[-1]
        if words.startswith(("fine", "refused")):
            tally[end.verdict] += 1
            continue
        bad += 1
        keep(end, folder)
        if bad <= 20:
            print(f"case {end.case}: {end.verdict}\n{end.told}", flush=True)
    for verdict, number in sorted(tally.items()):
        print(f"{number:8d}  {verdict}")
    total, seconds = tally.total() + bad, time.monotonic() - begin
    print(
        f"{total} cases in {seconds:.0f} s, {60 * total / max(seconds, 1):.0f} a minute: {bad} bad"
    )
    return int(bad > 0 or total == 0)


def keep(end: Outcome, folder: Path) -> None:
    """How to see it again."""
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{end.case}.txt").write_text(f"{end.verdict}\n{end.told}\n")


if __name__ == "__main__":
    main()
