"""Runs the Python of the pages: python packaging/run_pages.py [--part NAME] [PAGE.md...]

The blocks of a page are one program, which runs in a process of its own in the repository's folder.
Without pages: all of docs/how/, the home page, and docs/add-a-tower.md.

A page whose code needs another environment says so in a comment, `<!-- runs in: ray -->`: the part
`.ci/run ray` runs it, by `--part ray`. Where a page shows a model that a reader has and this
machine has not, it names build/models/qwen3: a tiny one of random weights, written first.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "docs" / "index.md",
    ROOT / "docs" / "add-a-tower.md",
    *sorted((ROOT / "docs" / "how").glob("*.md")),
]
LIMIT = 900  # seconds for a page
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PART = re.compile(r"^<!-- runs in: (\w+) -->$", re.MULTILINE)
_MODEL = re.compile(r"build/models/(\w+)")


def program(page: Path) -> str:
    """The Python blocks of a page, one after the other; "" if it has none."""
    return "\n".join(_BLOCK.findall(page.read_text("utf-8")))


def part(page: Path) -> str:
    """The part of .ci/run that runs the page."""
    found = _PART.search(page.read_text("utf-8"))
    return found[1] if found else "docs"


def write_models(code: str) -> None:
    """Writes the tiny models that a program names."""
    for name in sorted(set(_MODEL.findall(code))):
        folder = ROOT / "build" / "models" / name
        if not (folder / "config.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            writer = ROOT / "tests" / "serving_vllm" / "tiny.py"
            call = [sys.executable, str(writer), name, str(folder)]
            subprocess.run(call, check=True, stdout=subprocess.DEVNULL)


def run(page: Path) -> bool:
    """Runs a page and prints what it says; False: it failed."""
    code, began = program(page), time.perf_counter()
    write_models(code)
    # A file, not -c: what starts processes of its own imports it again.
    script = ROOT / "build" / "pages" / f"page_{page.stem.replace('-', '_')}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT
    )
    print(f"{page.name}: {time.perf_counter() - began:.1f} s\n{done.stdout}", end="", flush=True)
    if done.returncode:
        print(done.stderr)
    return not done.returncode


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--part", default="docs", help="the part of .ci/run that runs this")
    words.add_argument("pages", nargs="*", type=Path)
    given = words.parse_args()
    failed = []
    for page in [path.resolve() for path in given.pages] or PAGES:
        if not program(page):
            continue
        if part(page) != given.part:
            if given.part == "docs":
                print(f"{page.name}: its code is run by .ci/run {part(page)}")
        elif not run(page):
            failed.append(page.name)
    if failed:
        sys.exit(f"the code of these pages does not run: {', '.join(failed)}")


if __name__ == "__main__":
    main()
