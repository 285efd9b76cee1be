"""The frame grid against torch's own antialiased resize: pytest benchmarks/frame_grid.py

One 4:2:0 frame to 378 x 378 on one thread and on two. The bytes counted are the planes read once
and the grid written once; ``copy`` is what the machine's memory gives for as many.
"""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from patchgate import grid, reference
from patchgate.decode import Colour

SIZE = (378, 378)
FRAMES = 8
SOURCES = {"720p": (720, 1280), "1080p": (1080, 1920)}


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture(params=SOURCES)
def batch(request: pytest.FixtureRequest) -> SimpleNamespace:
    height, width = SOURCES[request.param]
    shapes = [(FRAMES, height, width)] + [(FRAMES, height // 2, width // 2)] * 2
    random = torch.Generator().manual_seed(0)
    planes = [torch.randint(0, 256, s, generator=random, dtype=torch.uint8) for s in shapes]
    return SimpleNamespace(planes=tuple(planes), colour=Colour(full_range=True))


def interpolate(planes: tuple[Tensor, ...], dtype: torch.dtype) -> Tensor:
    """The same resize, without the range: [T, 3, H, W] of dtype."""
    return torch.stack(
        [F.interpolate(p[:, None].to(dtype), SIZE, mode="bilinear", antialias=True)[:, 0]
         for p in planes], dim=1)  # fmt: skip


def measure(benchmark: Any, function: Any, batch: SimpleNamespace, threads: int) -> None:
    benchmark(function)
    moved = sum(plane.numel() for plane in batch.planes) + FRAMES * 3 * SIZE[0] * SIZE[1]
    median = benchmark.stats.stats.median
    benchmark.extra_info |= {
        "threads": threads,
        "ms_per_frame": round(median / FRAMES * 1e3, 4),
        "gigabytes_per_second": round(moved / median / 1e9, 3),
    }


def test_patchgate(benchmark: Any, batch: SimpleNamespace, threads: int) -> None:
    y, cb, cr = batch.planes
    tables = grid.tap_tables(
        tuple(y.shape[1:]),
        tuple(cb.shape[1:]),
        grid.fitted(tuple(y.shape[1:]), SIZE, "stretch"),
        y.device,
    )
    expected = reference.frame_grid(y[:1], cb[:1], cr[:1], *tables, True, 8)
    assert torch.equal(grid.to_grid(batch, SIZE)[:1], expected)
    measure(benchmark, lambda: grid.to_grid(batch, SIZE), batch, threads)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["uint8", "float32"])
def test_interpolate(
    benchmark: Any, batch: SimpleNamespace, threads: int, dtype: torch.dtype
) -> None:
    ours, theirs = grid.to_grid(batch, SIZE), interpolate(batch.planes, dtype)
    # Each rounds its weights and its passes by itself; theirs in float32 rounds nothing.
    assert (ours.int() - theirs.int()).abs().max() <= 2
    measure(benchmark, lambda: interpolate(batch.planes, dtype), batch, threads)


def test_copy(benchmark: Any, batch: SimpleNamespace, threads: int) -> None:
    """As many bytes read and written as the grid reads and writes."""
    moved = sum(plane.numel() for plane in batch.planes) + FRAMES * 3 * SIZE[0] * SIZE[1]
    source, target = torch.zeros(2, moved // 2, dtype=torch.uint8)
    measure(benchmark, lambda: target.copy_(source), batch, threads)
