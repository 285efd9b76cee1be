"""A gated tower against the dense one: python benchmarks/gated.py [frames]

SiglipVisionModel base/16-224 with random weights, float32, on the clips of PATCHGATE_CLIPS (by
default the signing clip that ships), decoded and made pixel values by the processor beforehand.
Dense runs in batches, gated as one call, in turn; gated includes the way back to 8 bit and the
gate. The figure is the speed-up over the ratio of counted operations (patchgate.encoders.work): 1
is a gate that costs nothing and kept tokens that run as fast as dense ones.
"""

import os
import statistics
import sys
from pathlib import Path

import harness
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

import patchgate
from patchgate.colour import yuv_to_rgb

BATCH = 16  # frames of the dense tower at a time
TARGET = 0.8


def clips() -> list[Path]:
    """The static-camera clip that ships, or all of the user's."""
    return [
        path for path in harness.clips() if "PATCHGATE_CLIPS" in os.environ or "asl" in path.name
    ]


def pixel_values(path: Path, frames: int, processor: SiglipImageProcessorPil) -> Tensor:
    """The first frames as the processor makes them, ``[T, 3, 224, 224]``."""
    pictures: list[Tensor] = []
    with patchgate.open_video(path) as video:
        for batch in video:
            pictures += rgb(batch)
            if len(pictures) >= frames:
                break
    return processor(
        images=[each.permute(1, 2, 0).numpy() for each in pictures[:frames]], return_tensors="pt"
    ).pixel_values


def rgb(batch: patchgate.FrameBatch) -> list[Tensor]:
    """``[3, H, W]`` uint8 of each frame."""
    y, cb, cr = batch.planes
    up = [nn.functional.interpolate(c[:, None], size=y.shape[-2:])[:, 0] for c in (cb, cr)]
    return list(yuv_to_rgb(torch.stack([y, *up], 1), "bt601"))


def measure(path: Path, frames: int) -> dict[str, object]:
    torch.manual_seed(0)
    tower = SiglipVisionModel(SiglipVisionConfig()).eval()
    processor = SiglipImageProcessorPil()
    pixels = pixel_values(path, frames, processor)
    gated = patchgate.gated(tower, processor, threshold=4)
    times = harness.paired(
        {
            "dense": lambda: [tower(batch).pooler_output for batch in pixels.split(BATCH)],
            "gated": lambda: gated(pixels).pooler_output,
        },
        rounds=5,
    )
    work = gated.last_work
    assert work is not None
    speedup = harness.ratio(times["dense"], times["gated"])
    return {
        "clip": path.name,
        "frames": len(pixels),
        "kept share": round(work.kept_share, 4),
        "dense ms a frame": round(1e3 * statistics.median(times["dense"]) / len(pixels), 2),
        "gated ms a frame": round(1e3 * statistics.median(times["gated"]) / len(pixels), 2),
        "FLOP ratio": round(work.flops_ratio, 2),
        "speed-up": round(speedup, 2),
        "speed-up / FLOP ratio": round(speedup / work.flops_ratio, 3),
        "target": f">= {TARGET}",
    }


@torch.inference_mode()
def main(frames: int) -> None:
    torch.set_num_threads(harness.THREADS)
    rows = [measure(path, frames) for path in clips()]
    table = Table(title="gated SigLIP base/16-224 against dense", title_justify="left")
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console(width=180).print(table)
    harness.save("gated", rows)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
