"""Gather against transformers' PIL processor on whole frames: python benchmarks/gather.py

Frames of 1080p to SigLIP base/16 at 224 and so400m/14 at 384, on two threads. The processor is
given ready-made RGB arrays in the layout that it is fastest with; gather starts from Y, Cb and Cr
and, for a fair comparison, also from the same RGB.
"""

import statistics
from types import SimpleNamespace
from typing import Any

import harness
import numpy as np
import table
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from patchgate.decode import Colour
from patchgate.gather import PixelSpec, gather, rgb_frames

FRAMES, HEIGHT, WIDTH = 8, 1080, 1920
TOWERS = {"base/16-224": (16, 224), "so400m/14-384": (14, 384)}
SHARES = (0.01, 0.1, 1.0)
PATTERNS = ("scattered", "block")


def make_batch() -> SimpleNamespace:
    """Smooth pictures with noise: what a camera gives, 4:2:0 limited BT.709."""
    random = torch.Generator().manual_seed(0)

    def plane(height: int, width: int) -> Tensor:
        coarse = torch.rand(FRAMES, 1, height // 40, width // 40, generator=random) * 200 + 20
        smooth = F.interpolate(coarse, (height, width), mode="bicubic")[:, 0]
        noise = torch.randn(FRAMES, height, width, generator=random) * 4
        return (smooth + noise).clamp(16, 235).to(torch.uint8)

    half = (HEIGHT // 2, WIDTH // 2)
    planes = (plane(HEIGHT, WIDTH), plane(*half), plane(*half))
    return SimpleNamespace(planes=planes, colour=Colour(matrix="bt709"))


def kept_cells(share: float, pattern: str, h: int, w: int) -> Tensor:
    """That share of every frame's cells, anywhere or in one rectangle."""
    if pattern == "block":
        side = share**0.5
        cells = torch.zeros(FRAMES, h, w, dtype=torch.bool)
        cells[:, : round(h * side), : round(w * side)] = True
        return cells.flatten().nonzero().flatten()
    random = torch.Generator().manual_seed(1)
    kept = torch.randperm(FRAMES * h * w, generator=random)[: round(FRAMES * h * w * share)]
    return kept.sort().values


def setting(tower: str) -> tuple[SiglipImageProcessorPil, PixelSpec, int, int]:
    patch, side = TOWERS[tower]
    processor = SiglipImageProcessorPil(size={"height": side, "width": side})
    spec = PixelSpec.from_processor(processor, patch)
    return processor, spec, *spec.cells(HEIGHT, WIDTH)


def pictures(rgb: Tensor) -> list[np.ndarray]:
    """As the processor is fastest with: [H, W, 3] each, contiguous."""
    return list(rgb.permute(0, 2, 3, 1).contiguous().numpy())


def check(batch: SimpleNamespace, rgb: Tensor, tower: str) -> None:
    """What is timed is equal: gather of YUV, gather of its RGB, the processor on that RGB."""
    processor, spec, h, w = setting(tower)
    index = torch.arange(h * w)
    ours = gather(rgb[:1], index, spec)
    first = SimpleNamespace(planes=[plane[:1] for plane in batch.planes], colour=batch.colour)
    assert torch.equal(gather(first, index, spec), ours)
    pixels = processor(pictures(rgb[:1]), return_tensors="pt")["pixel_values"]
    assert torch.equal(F.unfold(pixels, spec.patch, stride=spec.patch)[0].T, ours)


def compare(rounds: int = 9) -> list[dict[str, Any]]:
    """Every variant in turn, in one run: milliseconds a frame and how many times faster."""
    batch = make_batch()
    rgb = rgb_frames(batch)
    arrays = pictures(rgb)
    rows = []
    for tower in TOWERS:
        check(batch, rgb, tower)
        processor, spec, h, w = setting(tower)
        calls: dict[str, Any] = {"processor": lambda p=processor: p(arrays, return_tensors="pt")}
        for share in SHARES:
            for pattern in PATTERNS[: 2 if share == 0.1 else 1]:
                cells = kept_cells(share, pattern, h, w)
                for name, frames in (("yuv", batch), ("rgb", rgb)):
                    calls[f"{share:.0%} {pattern} {name}"] = lambda f=frames, i=cells, s=spec: (
                        gather(f, i, s)
                    )
        seconds = harness.paired(calls, rounds)
        for name, times in seconds.items():
            rows.append(
                {
                    "tower": tower,
                    "what": name,
                    "ms_per_frame": round(statistics.median(times) / FRAMES * 1e3, 3),
                    "times_faster": round(harness.ratio(seconds["processor"], times), 1),
                }
            )
    return rows


if __name__ == "__main__":
    torch.set_num_threads(harness.THREADS)
    table.publish("gather", compare(), "gather against the processor")
