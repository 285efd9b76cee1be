"""`make demo`: two real clips through the command line, and what came out of it, in one table.

Uses two CPU threads. Everything it writes goes to demo/.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from patchgate import Gate, VideoTokens, grid, open_video
from patchgate.cli import app
from patchgate.report.survey import largest_error, largest_limit

HERE = Path(os.path.relpath(Path(__file__).parent))
CLIPS = {
    "sign language": HERE / "clips" / "asl_book.mkv",
    "film": HERE / "clips" / "torchcodec_nasa_13013.mp4",
}
OUT = Path(os.path.relpath(HERE.parent / "demo"))

console = Console(highlight=False)


def run(*words: str | Path) -> dict[str, Any]:
    """One `patchgate` command; gives what --json would print."""
    arguments = [str(word) for word in words]
    console.print(f"\n$ patchgate {' '.join(arguments)}", style="bold cyan", soft_wrap=True)
    facts = app(arguments, standalone_mode=False)
    if not isinstance(facts, dict):
        sys.exit(facts)
    return facts


def reconstruction_error(clip: Path, tokens: VideoTokens, gate: Gate) -> float:
    """Of the worst sub-block of all frames, rebuilt from the file alone, in grey levels."""
    assert gate.size is not None
    rebuilt = tokens.reconstruct()  # [T, 3, H, W]
    worst, first = 0.0, 0
    with open_video(clip) as video:
        for batch in video:
            frames = grid.to_grid(batch, gate.size, gate.settings.fit)
            worst = max(worst, largest_error(frames, rebuilt[first : first + len(frames)], gate))
            first += len(frames)
    return worst


def measure(clip: Path) -> dict[str, str]:
    """Runs the three commands; gives the rows of the table."""
    out, picture = OUT / f"{clip.stem}.safetensors", OUT / f"{clip.stem}.png"
    run("info", clip)
    done = run("tokenize", clip, "-o", out, "--force", "--threads", "2")
    seen = run("inspect", clip, "-o", picture, "--threads", "2")

    gate = Gate(**done["gate"])
    error, limit = reconstruction_error(clip, VideoTokens.load(out), gate), largest_limit(gate)
    if error > limit:
        sys.exit(f"{clip.name}: a sub-block is off by {error} grey levels, the limit is {limit}")

    one, two = seen["sampled"]["1_fps"], seen["sampled"]["2_fps"]
    return {
        "tokens, gated": f"{done['tokens']:,} for {done['frames']:,} frames",
        "tokens, dense": f"{done['dense_tokens']:,} for {done['frames']:,} frames",
        "tokens, 2 fps": f"{two['tokens']:,} for {two['frames']:,} frames",
        "tokens, 1 fps": f"{one['tokens']:,} for {one['frames']:,} frames",
        "kept share": f"{done['kept_share']:.2%}",
        "largest error": f"{error:.2f} <= {limit:g} grey levels",
        "with decoding": f"{done['frames_per_second']:,.0f} frames/s",
        "look at": picture.name,
    }


def main() -> None:
    """Runs the clips, prints the table."""
    OUT.mkdir(exist_ok=True)
    torch.set_num_threads(2)
    columns = {name: measure(clip) for name, clip in CLIPS.items()}
    table = Table("", *columns, title="every frame, for the price of what changed")
    for row in next(iter(columns.values())):
        table.add_row(row, *(rows[row] for rows in columns.values()))
    console.print()
    console.print(table)
    console.print(f"Tokens and pictures: {OUT}/", soft_wrap=True)


if __name__ == "__main__":
    main()
