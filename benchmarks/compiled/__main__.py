"""The compile report as a table: see the package."""

import argparse
import json
import sys
from pathlib import Path

# This folder would hide the package triton behind its module of that name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import harness  # noqa: E402
import table  # noqa: E402

from compiled import compact, report, spilled  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="What the compilers say of every GPU kernel.")
    parser.add_argument("ops", nargs="*", help="only these")
    parser.add_argument("--json", action="store_true", help="print the rows as they are")
    given = parser.parse_args()
    rows = report(given.ops or None)
    if given.json:
        print(json.dumps(rows))
        return
    print("registers of a thread / shared bytes of a block / spilled bytes of a thread\n")
    print("\n".join(table.markdown(compact(rows))))
    if not given.ops:
        print(harness.save("compiled", compact(rows)))
    for row in spilled(rows):
        sys.exit(f"{row['op']} ({row['variant']}) spills {row['spills']} bytes on {row['arch']}")


if __name__ == "__main__":
    main()
