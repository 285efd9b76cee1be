"""What the command line costs: python benchmarks/command_line.py [--clips 40] [--each 5]

``patchgate --help``; and ``patchgate tokenize --tower`` on clips of one second at 224 pixels, all
in one process, beside a process for each, of which only some are run.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import harness
import numpy as np
import table
import torch
from transformers import SiglipImageProcessorPil, SiglipVisionConfig, SiglipVisionModel

SIDE, PATCH, FPS = 224, 16, 25


def model(folder: Path) -> Path:
    """A small SigLIP of random weights, so that what counts is all that stands around it."""
    torch.manual_seed(0)
    config = SiglipVisionConfig(
        hidden_size=192, intermediate_size=768, num_hidden_layers=4, num_attention_heads=3,
        image_size=SIDE, patch_size=PATCH,
    )  # fmt: skip
    SiglipVisionModel(config).save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    SiglipImageProcessorPil(size=size).save_pretrained(folder)
    return folder


def clip(path: Path, seed: int) -> Path:
    """One second: a square of noise moves over noise that stands still."""
    picture = np.random.default_rng(seed).integers(60, 200, (SIDE, SIDE, 3)).astype(np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width = stream.height = SIDE
        for t in range(FPS):
            shown = picture.copy()
            shown[80:112, 4 * t : 4 * t + 32] = picture[:32, :32]
            out.mux(stream.encode(av.VideoFrame.from_ndarray(shown, "rgb24")))
        out.mux(stream.encode())
    return path


def seconds(*words: object) -> float:
    """Of one command line."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "patchgate", *map(str, words)], check=True, capture_output=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    return time.perf_counter() - begin


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--clips", type=int, default=40)
    words.add_argument("--each", type=int, default=5, help="clips that get a process of their own")
    words.add_argument("--out", type=Path, default=harness.RESULTS / "command_line.json")
    given = words.parse_args()
    seconds("--help")  # warm
    shown = statistics.median(seconds("--help") for _ in range(5))
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        tower = model(home / "model")
        clips = [clip(home / f"c{n:03}.mp4", n) for n in range(given.clips)]

        def tokenize(out: str, *paths: Path) -> float:
            return seconds("tokenize", *paths, "--tower", tower, "-o", home / out)

        half = given.each // 2  # some before, some after: the machine may change its mind
        alone = [tokenize(f"{n}.safetensors", clips[n]) for n in range(half)]
        together = tokenize("out", *clips)
        alone += [tokenize(f"{n}.safetensors", clips[n]) for n in range(half, given.each)]
    each = statistics.median(alone)
    rows = [
        {"what": "patchgate --help: seconds", "value": round(shown, 3), "target": "< 1"},
        {"what": f"tokenize --tower, {given.clips} clips in one process: seconds",
         "value": round(together, 2), "target": ""},
        {"what": "tokenize --tower, a clip in a process of its own: seconds",
         "value": round(each, 2), "target": ""},
        {"what": "one process for each over one for all",
         "value": round(each * given.clips / together, 1), "target": ">= 8"},
    ]  # fmt: skip
    table.show(rows)
    harness.write(given.out, rows)


if __name__ == "__main__":
    main()
