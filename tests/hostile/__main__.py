"""Runs hostile calls and says how many ended how; exits with 1 if one ended as none may."""

import argparse
import collections
import os
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "cases"))

import torch
from forked import Limits, outcomes

from hostile.arguments import MAKERS
from hostile.calls import call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first call")
    parser.add_argument("--op", choices=sorted(MAKERS), help="of this op only")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    torch.set_num_threads(1)  # no threads that a fork would lose
    # An instrumented process maps all of its address space: there the sanitizer limits what is
    # asked for.
    sanitized = "asan" in os.environ.get("LD_PRELOAD", "")
    limits = Limits(seconds=120) if sanitized else Limits(seconds=20, address=4 << 30)
    begin = time.monotonic()
    cases = range(given.first, given.first + given.calls)
    tally: collections.Counter[str] = collections.Counter()
    bad = 0
    for end in outcomes(
        partial(call, only=given.op), cases, limits, given.workers,
        begin + given.seconds,
    ):  # fmt: skip
        if end.verdict.startswith(("answered", "refused")):
            tally[end.verdict] += 1
            continue
        bad += 1
        if bad <= 20:
            print(f"call {end.case}: {end.verdict}\n{end.told}", flush=True)
    for verdict, count in sorted(tally.items()):
        print(f"{count:8d}  {verdict}")
    total = tally.total() + bad
    print(f"{total} hostile calls in {time.monotonic() - begin:.0f} s: {bad} bad")
    sys.exit(bad > 0 or total == 0)


if __name__ == "__main__":
    main()
