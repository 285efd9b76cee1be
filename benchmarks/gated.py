"""Gated towers against dense ones: python benchmarks/gated.py [frames] [part of a tower's name]

The figures land in results/gated.json, or gated_<part>.json.

SiglipVisionModel base/16-224 and so400m/14-384 with random weights, float32, on the clips of
PATCHGATE_CLIPS (by default the signing clip that ships), decoded and made pixel values by the
processor beforehand. Dense runs in batches; gated in calls of 32 frames that go on with one stream,
or frame by frame, in turn; the way back to 8 bit and the gate are in its time. Speed-up over the
ratio of counted operations (patchgate.encoders.run.work): 1 is a gate that costs nothing and kept
tokens that run as fast as dense ones. "all new": frames of noise, of which nothing can be saved.
"""

import math
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import harness
import table
import torch
from proof.frames import decoded
from proof.towers import SIZES, Sized
from torch import Tensor
from transformers import SiglipVisionModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

import patchgate
from patchgate.encoders.run.work import Work
from patchgate.gather import rgb_frames

BATCH = 16  # frames of the dense tower at a time
CHUNK = 32  # frames of a gated call
TOWERS = [name for name in SIZES if name.startswith("SigLIP")]
VARIANTS: dict[str, dict[str, Any]] = {
    "kept cells only": {"context": "kept"},
    "residual": {"tolerance": math.inf},
}


def clips() -> list[Path]:
    """The signing clip that ships; of the user's, those of a camera that stands still."""
    names = ("asl", "intel") if "PATCHGATE_CLIPS" in os.environ else ("asl",)
    return [path for path in harness.clips() if path.name.startswith(names)]


def pixel_values(path: Path, frames: int, processor: SiglipImageProcessorPil) -> Tensor:
    """The first frames as the processor makes them, ``[T, 3, H, W]``."""
    rgb = rgb_frames(decoded(path, frames)).permute(0, 2, 3, 1)
    return processor(images=list(rgb.numpy()), return_tensors="pt").pixel_values


def towers(frames: int) -> dict[str, tuple[SiglipVisionModel, SiglipImageProcessorPil, int]]:
    """Models, their processors, and how many frames are worth their time."""
    found = {}
    for name in TOWERS:
        model = Sized(name, head=True).model
        side = model.config.image_size
        processor = SiglipImageProcessorPil(size={"height": side, "width": side})
        found[name] = model, processor, frames if side < 300 else frames // 4
    return found


def pushed(gated: Any, pixels: Tensor, chunk: int) -> list[Work]:
    """Through one stream, so many frames at a time."""
    stream, done = gated.stream(), []
    for part in pixels.split(chunk):
        stream(part)
        done.append(stream.last_work)
    return done


def measure(
    model: SiglipVisionModel, processor: Any, pixels: Tensor, chunks: dict[str, int]
) -> list[dict[str, object]]:
    """Every variant in turn with the dense tower."""
    calls: dict[str, Callable[[], Any]] = {
        "dense": lambda: [model(batch).pooler_output for batch in pixels.split(BATCH)]
    }
    for name, settings in VARIANTS.items():
        gated = patchgate.gated(model, processor, threshold=4, **settings)
        for way, chunk in chunks.items():
            calls[f"{name}, {way}"] = partial(pushed, gated, pixels, chunk)
    times = harness.paired(calls, rounds=3)
    rows = []
    for name, call in calls.items():
        if name == "dense":
            continue
        work = Work.total(call())
        speedup = harness.ratio(times["dense"], times[name])
        rows.append(
            {
                "gated": name,
                "frames": len(pixels),
                "kept share": round(work.kept_share, 4),
                "dense ms a frame": round(1e3 * median(times["dense"]) / len(pixels), 2),
                "gated ms a frame": round(1e3 * median(times[name]) / len(pixels), 2),
                "FLOP ratio": round(work.flops_ratio, 2),
                "speed-up": round(speedup, 2),
                "speed-up / FLOP ratio": round(speedup / work.flops_ratio, 3),
            }
        )
    return rows


@torch.inference_mode()
def main(frames: int, wanted: str) -> None:
    torch.set_num_threads(harness.THREADS)
    rows: list[dict[str, object]] = []
    chosen = {name: each for name, each in towers(frames).items() if wanted in name}
    for name, (model, processor, count) in chosen.items():
        small = model.config.image_size < 300
        chunks = {f"calls of {CHUNK}": CHUNK, **({"frame by frame": 1} if small else {})}
        side = model.config.image_size
        random = torch.Generator().manual_seed(0)
        noise = torch.rand((8, 3, side, side), generator=random) * 2 - 1
        for clip, pixels in {
            **{path.name: pixel_values(path, count, processor) for path in clips()},
            "all new": noise,
        }.items():
            found = measure(model, processor, pixels, chunks)
            rows += [{"tower": name, "clip": clip, **row} for row in found]
    results = f"gated_{wanted}" if wanted else "gated"
    table.publish(results, rows, "gated towers against dense ones")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64, "".join(sys.argv[2:3]))
