"""Runs the proof: python benchmarks/proof/run.py [section ...] [--quick]

Sections: readout, changing, rates, speed, scaling. Each writes results/proof/<section>.json;
docs/RESULTS.md and its plots are then drawn from all of them (--redraw: only that). changing takes
its settings from readout's file. --quick sees that it runs. Clips that are timed come from
PATCHGATE_CLIPS, or are those that ship.
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

from proof import changing, page, rates, readout, scaling, speed
from proof.options import READERS, Options

SECTIONS = {
    "readout": readout,
    "changing": changing,
    "rates": rates,
    "speed": speed,
    "scaling": scaling,
}

OF_READERS = ("readout", "changing")


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
    parser.add_argument("--add", action="store_true", help="readers to those of the last run")
    parser.add_argument("--streams", action="store_true", help="of speed only its live streams")
    parser.add_argument("--redraw", action="store_true", help="only the page, of what is there")
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "proof", help="a folder")
    wanted = parser.parse_args()
    for name in wanted.sections:
        if name not in SECTIONS:
            parser.error(f"section: expected {', '.join(SECTIONS)}, got {name}")
    if wanted.add and (not wanted.sections or set(wanted.sections) - set(OF_READERS)):
        parser.error(f"--add: expected one of {', '.join(OF_READERS)}: their rows are of readers")
    whole = wanted.out / "speed.json"
    if wanted.streams and (wanted.sections != ["speed"] or not whole.exists()):
        parser.error(f"--streams: expected the section speed, and its other tables in {whole}")
    return wanted


def added(
    path: Path, tables: dict[str, Any], run: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tables with the rows of other readers that a section's file has, and how both came."""
    before = json.loads(path.read_text())
    told, readers = before["provenance"], {row["reader"] for row in tables[next(iter(tables))]}
    joined = {
        title: [*(r for r in before["rows"][title] if r["reader"].split(",")[0] not in readers),
                *rows]
        for title, rows in tables.items()
    }  # fmt: skip
    now = harness.provenance()
    both = {name: f"{told[name]}, then {now[name]}" for name in ("commit", "command")}
    return joined, run | both | {"seconds": told["seconds"] + run["seconds"]}


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
        path, tables = wanted.out / f"{name}.json", SECTIONS[name].measure(options)
        run = {"load average before": round(load, 1), "seconds": round(time.perf_counter() - start)}
        if wanted.add:
            tables, run = added(path, tables, run)
        if wanted.streams:
            put_among(path, tables)
        else:
            harness.write(path, tables, **run)
    page.publish(wanted.out)


if __name__ == "__main__":
    main()
