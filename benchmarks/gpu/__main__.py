"""GPU benchmarks: see the package."""

import argparse
import sys
from pathlib import Path

# This folder would hide other modules behind the ops' names.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import table  # noqa: E402

from gpu import all_cases  # noqa: E402
from gpu.device import here  # noqa: E402
from gpu.measure import check, floor_row, measured_row  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="Every op on a GPU, against its floor.")
    parser.add_argument("ops", nargs="*", help="only these")
    parser.add_argument("--floors", action="store_true", help="counted, not measured: no GPU")
    parser.add_argument("--small", action="store_true", help="small sizes, checked, not timed")
    given = parser.parse_args()
    cases = all_cases(given.ops, given.small)
    if given.floors:
        print("\n".join(table.markdown([floor_row(case) for case in cases])))
        return
    device = here()
    if given.small:
        for case in cases:
            check(case, device.moved(case.inputs), device)
            print(f"{case.op}: {case.name}: right", flush=True)
        return
    ceilings = device.ceilings()
    print(f"{ceilings.name}: a copy moves {ceilings.bytes / 1e12:.2f} TB/s, read and written")
    rows = []
    for case in cases:
        rows.append(measured_row(case, device, ceilings))
        print("{op}: {case}: {us} us, {times floor} x floor".format(**rows[-1]), flush=True)
    # All keys in every row: a case without a baseline has an empty cell.
    names = {name: "" for row in rows for name in row}
    print("\n" + "\n".join(table.markdown([names | row for row in rows])))


if __name__ == "__main__":
    main()
