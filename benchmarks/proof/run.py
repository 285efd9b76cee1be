"""Runs the proof: python benchmarks/proof/run.py [section ...] [--quick]

Sections: readout, changing, rates, speed, scaling. Each writes results/proof/<section>.json;
docs/RESULTS.md and its plots are then drawn from all of them (--redraw: only that). changing takes
its settings from readout's file. --quick sees that it runs. Clips that are timed come from
PATCHGATE_CLIPS, or are those that ship.
"""

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
import torch

from proof import changing, page, rates, readout, scaling, speed
from proof.options import READERS, Options

SECTIONS = {
    "readout": readout,
    "changing": changing,
    "rates": rates,
    "speed": speed,
    "scaling": scaling,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", metavar="section", help="all if none is named")
    parser.add_argument("--quick", action="store_true", help="little of everything, two minutes")
    parser.add_argument("--few", action="store_true", help="fewer controls, one budget")
    parser.add_argument("--clips", type=int, default=2, help="rendered clips of each scene")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each rendered clip")
    parser.add_argument("--processes", type=int, default=2, help="for what is not timed")
    parser.add_argument(
        "--readers", nargs="+", choices=READERS, default=READERS, help="of readout, changing"
    )
    parser.add_argument("--redraw", action="store_true", help="only the page, of what is there")
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "proof", help="a folder")
    wanted = parser.parse_args()
    for name in wanted.sections:
        if name not in SECTIONS:
            parser.error(f"section: expected {', '.join(SECTIONS)}, got {name}")
    return wanted


def main() -> None:
    wanted = arguments()
    options = Options(
        quick=wanted.quick,
        few=wanted.few or wanted.quick,
        clips=1 if wanted.quick else wanted.clips,
        seconds=3.0 if wanted.quick else wanted.seconds,
        processes=wanted.processes,
        readers=tuple(wanted.readers),
    )
    torch.set_num_threads(harness.THREADS)
    for name in [] if wanted.redraw else wanted.sections or SECTIONS:
        load, start = os.getloadavg()[0], time.perf_counter()
        tables = SECTIONS[name].measure(options)
        run = {"load average before": round(load, 1), "seconds": round(time.perf_counter() - start)}
        harness.write(wanted.out / f"{name}.json", tables, **run)
    page.publish(wanted.out)


if __name__ == "__main__":
    main()
