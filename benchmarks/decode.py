"""Decoding speed of this tree against another one: python benchmarks/decode.py TREE [clip ...]

TREE is another checkout of patchgate with its extension built (``git worktree add``). Each tree has
a process of its own that decodes a whole clip when it is told to; the two take turns, and who
begins alternates. Where a process lies in memory makes some percent, so after some pairs others
take their place, and they keep what they have freed: whether malloc gives a batch's memory back to
the system, to ask for it again page by page, is chance. Frames and time stamps are compared before
anything is timed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import harness
from rich.console import Console
from rich.table import Table

AIM = "<= 1.02"
# glibc's malloc: below 2^30 bytes nothing is mapped by itself, and below 2^32 nothing given back.
KEEP = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}

# Clips come in by stdin, what they took goes out by stdout. CPU seconds are those of all threads.
CHILD = """
import hashlib, json, sys, time, warnings
import torch
import patchgate
warnings.simplefilter("ignore")
threads, chunk = int(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)

for line in sys.stdin:
    what, clip = json.loads(line)
    if what == "check":
        digest, frames = hashlib.sha256(), 0
        with patchgate.open_video(clip, threads=threads, chunk=chunk) as video:
            for batch in video:
                frames += len(batch)
                for part in (*batch.planes, batch.pts_seconds, batch.duration_seconds):
                    digest.update(part.numpy())
        answer = {"frames": frames, "digest": digest.hexdigest()}
    else:
        begin = time.process_time()
        with patchgate.open_video(clip, threads=threads, chunk=chunk) as video:
            wall, cpu = time.perf_counter(), time.process_time()
            for batch in video:
                pass
            answer = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        answer["open"] = cpu - begin
    print(json.dumps(answer | {"from": patchgate.__file__}), flush=True)
"""


class Tree:
    """A checkout, and the process that decodes with it."""

    def __init__(self, folder: Path, threads: int, chunk: int) -> None:
        python = folder.resolve() / "python"
        environment = os.environ | KEEP | {
            "PYTHONPATH": str(python), "OMP_NUM_THREADS": str(threads),
        }  # fmt: skip
        command = [sys.executable, "-c", CHILD, str(threads), str(chunk)]
        self._python = python
        self._child = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what: str, clip: Path) -> dict[str, Any]:
        """What came of it: of a clip to "check", or to "time"."""
        orders, answers = self._child.stdin, self._child.stdout
        assert orders is not None
        assert answers is not None
        orders.write(json.dumps([what, str(clip)]) + "\n")
        orders.flush()
        answer: dict[str, Any] = json.loads(answers.readline())
        if not Path(answer["from"]).is_relative_to(self._python):
            raise RuntimeError(f"expected patchgate of {self._python}, got {answer['from']}")
        return answer

    def close(self) -> None:
        """Ends the process."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait()


@dataclass
class Compared:
    """What a clip took in both trees, ours first."""

    clip: Path
    frames: int = 0
    same: bool = True
    took: tuple[list[dict[str, float]], list[dict[str, float]]] = field(
        default_factory=lambda: ([], [])
    )

    def add(self, trees: tuple[Tree, Tree], pairs: int) -> None:
        """Some pairs more."""
        ours, other = (tree.ask("check", self.clip) for tree in trees)
        self.frames, self.same = ours["frames"], self.same and ours["digest"] == other["digest"]
        for number in range(pairs):
            for side in (0, 1) if number % 2 else (1, 0):
                self.took[side].append(trees[side].ask("time", self.clip))

    def row(self) -> dict[str, object]:
        """The medians of both, and their ratio."""
        row: dict[str, object] = {
            "clip": self.clip.name, "frames": self.frames, "pairs": len(self.took[0]),
            "same frames": self.same,
        }  # fmt: skip
        for kind in ("cpu", "wall"):
            now, before = (statistics.median(each[kind] for each in side) for side in self.took)
            row[f"{kind} us a frame"] = round(1e6 * now / self.frames, 1)
            row[f"{kind}, other"] = round(1e6 * before / self.frames, 1)
            row[f"{kind} ratio"] = round(now / before, 4)
        now, before = (statistics.median(each["open"] for each in side) for side in self.took)
        return row | {"open ms": round(1e3 * now, 2), "open, other": round(1e3 * before, 2)}


def compare(given: argparse.Namespace) -> list[dict[str, object]]:
    """A row for each clip."""
    clips = [Compared(clip) for clip in given.clips or harness.clips()]
    for _ in range(given.rounds):
        ours, other = (
            Tree(each, given.threads, given.chunk) for each in (harness.ROOT, given.tree)
        )
        try:
            for clip in clips:
                clip.add((ours, other), given.pairs)
        finally:
            ours.close()
            other.close()
    return [clip.row() for clip in clips]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", type=Path, help="the other checkout")
    parser.add_argument("clips", type=Path, nargs="*", help="default: those of PATCHGATE_CLIPS")
    parser.add_argument("--pairs", type=int, default=5, help="of each clip in a round")
    parser.add_argument("--rounds", type=int, default=6, help="with processes of their own")
    parser.add_argument("--threads", type=int, default=1, help="of the decoder")
    parser.add_argument("--chunk", type=int, default=16, help="frames of a batch")
    given = parser.parse_intermixed_args()
    rows = compare(given)
    command = ["git", "-C", str(given.tree), "rev-parse", "--short", "HEAD"]
    against = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    table = Table(title=f"against {against}, aim {AIM}")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=160).print(table)
    load = round(os.getloadavg()[0], 1)  # of the last minute; the two trees are one of it
    harness.write(harness.RESULTS / "decode.json", rows, against=against, load=load)


if __name__ == "__main__":
    main()
