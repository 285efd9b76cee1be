"""Runs the Python of the pages: python packaging/run_pages.py [PAGE.md...]

The blocks of a page are one program, which runs in a process of its own in the repository's folder.
Without pages: all of docs/how/ and the home page.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def program(page: Path) -> str:
    """The Python blocks of a page, one after the other; "" if it has none."""
    return "\n".join(_BLOCK.findall(page.read_text("utf-8")))


def main() -> None:
    chosen = [Path(word) for word in sys.argv[1:]]
    pages = chosen or [ROOT / "docs" / "index.md", *sorted((ROOT / "docs" / "how").glob("*.md"))]
    (ROOT / "build").mkdir(exist_ok=True)
    failed = []
    for page in pages:
        code, began = program(page), time.perf_counter()
        if not code:
            continue
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
        )
        print(f"{page.name}: {time.perf_counter() - began:.1f} s\n{done.stdout}", end="")
        if done.returncode:
            failed.append(page.name)
            print(done.stderr)
    if failed:
        sys.exit(f"the code of these pages does not run: {', '.join(failed)}")


if __name__ == "__main__":
    main()
