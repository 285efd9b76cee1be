"""Which commit a figure comes from. Imports nothing that takes its time."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CARRIED = ROOT / "build" / "gpu-carry" / "commit"  # for a copy of the tree without its history


def commit() -> str:
    """Its short name, with a + if anything but the results differs from it; "unknown" without
    git, unless ``make gpu-carry`` wrote it down.
    """
    if shutil.which("git") and _git("rev-parse", "HEAD"):
        changed = _git("status", "--short", "--", ".", ":!benchmarks/results")
        return _git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    return CARRIED.read_text().strip() if CARRIED.exists() else "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()
