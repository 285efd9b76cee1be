"""Stages on a GPU: see the package."""

import argparse
import math
import sys
import tempfile
from pathlib import Path

# This folder would hide other modules behind the stages' names.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from stages import STAGES, page  # noqa: E402
from stages.carry import carry  # noqa: E402
from stages.run import run  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="What is to be learnt of a GPU, in stages.")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="stages, one after another")
    running.add_argument("stages", type=letters, help="such as a, or bcd")
    running.add_argument("--out", type=writable, required=True, help="folder for the facts")
    running.add_argument("--budget", type=positive, help="seconds for all of these stages")
    running.add_argument("--rehearse", action="store_true", help="without a GPU, in small")
    carrying = commands.add_parser("carry", help="what must travel beside the repository")
    carrying.add_argument("--max-mib", type=positive, required=True, help="for each stage")
    carrying.add_argument("--python", default="3.12", help="the version there")
    keeping = commands.add_parser("keep", help="facts into the results, and GPU.md anew")
    keeping.add_argument("folder", type=Path)
    given = parser.parse_args()
    if given.command == "run":
        sys.exit(not run(given.stages, given.out, given.budget, given.rehearse))
    if given.command == "carry":
        sys.exit(not carry(given.max_mib, given.python))
    print("\n".join(map(str, page.keep(given.folder))))


def letters(text: str) -> str:
    """Names of stages, in one word."""
    if not text or set(text) - set(STAGES):
        raise argparse.ArgumentTypeError(f"expected letters of {''.join(STAGES)}, got {text!r}")
    return text


def positive(text: str) -> float:
    """A number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return number


def writable(text: str) -> Path:
    """A folder that facts can be written to; it is made. Told before the first stage begins."""
    folder = Path(text)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(
            f"expected a folder that can be written to, got {text!r}: {error.strerror}"
        ) from error
    return folder


if __name__ == "__main__":
    main()
