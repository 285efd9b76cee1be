"""Runs the proof: python benchmarks/proof/run.py [section ...] [--quick]

Sections: readout, rates, speed, scaling. Each writes results/proof/<section>.json; docs/RESULTS.md
and its plots are then drawn from all of them (--redraw: only that). --quick sees that it runs.
Clips that are timed come from PATCHGATE_CLIPS, or are those that ship.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
import torch

from proof import page, rates, readout, scaling, speed
from proof.options import READERS, Options

SECTIONS = {"readout": readout, "rates": rates, "speed": speed, "scaling": scaling}


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
    parser.add_argument("--readers", nargs="+", choices=READERS, default=READERS, help="of readout")
    parser.add_argument("--streams", action="store_true", help="of speed only its live streams")
    parser.add_argument("--redraw", action="store_true", help="only the page, of what is there")
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "proof", help="a folder")
    wanted = parser.parse_args()
    for name in wanted.sections:
        if name not in SECTIONS:
            parser.error(f"section: expected {', '.join(SECTIONS)}, got {name}")
    whole = wanted.out / "speed.json"
    if wanted.streams and (wanted.sections != ["speed"] or not whole.exists()):
        parser.error(f"--streams: expected the section speed, and its other tables in {whole}")
    return wanted


def put_among(path: Path, tables: dict[str, Any]) -> None:
    """Puts tables in place of those of an earlier run, whose provenance says so."""
    content = json.loads(path.read_text())
    now, old = harness.provenance(), content["provenance"]
    earlier = old["command"].split(" (live streams:")[0]
    old["command"] = (f"{earlier} (live streams: {now['command']}, {now['date']}, commit "
                      f"{now['commit']}, {now['cpu']}, {now['cores']} cores)")  # fmt: skip
    content["rows"] |= tables
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    wanted = arguments()
    options = Options(
        quick=wanted.quick,
        few=wanted.few or wanted.quick,
        clips=1 if wanted.quick else wanted.clips,
        seconds=3.0 if wanted.quick else wanted.seconds,
        processes=wanted.processes,
        readers=tuple(wanted.readers),
        streams=wanted.streams,
    )
    torch.set_num_threads(harness.THREADS)
    for name in [] if wanted.redraw else wanted.sections or SECTIONS:
        load, start = os.getloadavg()[0], time.perf_counter()
        tables = SECTIONS[name].measure(options)
        run = {"load average before": round(load, 1), "seconds": round(time.perf_counter() - start)}
        path = wanted.out / f"{name}.json"
        if wanted.streams:
            put_among(path, tables)
        else:
            harness.write(path, tables, **run)
    page.publish(wanted.out)


if __name__ == "__main__":
    main()
