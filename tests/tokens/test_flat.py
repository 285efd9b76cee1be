"""Whatever has a state does not grow: 100,000 pushes take as long and as much memory as the first.

Letters: T frames, h w cells, K tokens, D features.
"""

import ctypes
import gc
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gated_cases as cases
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor

import patchgate
from patchgate import Gate, MergeStream, TokenChunk
from patchgate.merging.scenes import SceneTracker
from patchgate.pipeline.collect import empty_chunk
from patchgate.policies.video import CappedGate
from patchgate.policies.video.statistics import WatchedGate
from patchgate.report.history import history_of
from patchgate.tokens.layout import layout_of
from patchgate.tokens.spill import TokenSpill

PUSHES = 100_000
PARTS = 10
SLOWER = 1.5  # times: what a busy machine may make of equal work
NOISE = 3 << 20  # bytes: what an allocator keeps by the way

Push = Callable[[], Any]


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Threads that wait for each other would be counted as work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def resident() -> int:
    """Bytes of this process, with what is free given back first."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def check_flat(push: Push, pushes: int = PUSHES, bytes_each: int = 0) -> None:
    """Calls it so often.

    Args:
        bytes_each: what each push is documented to add.
    """
    spent, taken = [], []
    for _ in range(PARTS):
        begin = time.process_time()
        for _ in range(pushes // PARTS):
            push()
        spent.append(time.process_time() - begin)
        taken.append(resident())
    # The first part warms up. Of the others, the quickest tell what the work is.
    assert min(spent[-3:]) < SLOWER * min(spent[1:4]), spent
    grown = taken[-1] - taken[1]
    assert grown < NOISE + bytes_each * pushes, (grown, taken)


# ---- pictures and chunks to push


def planes(size: int = 24) -> Iterator[torch.Tensor]:
    """Frames ``[1, 3, H, W]``: the camera goes round, noise in a corner, now and then a cut."""
    random = torch.Generator().manual_seed(0)
    scenes = torch.randint(256, (5, 3, 2 * size, 2 * size), generator=random, dtype=torch.uint8)
    for i in itertools.count():
        picture = scenes[i // 97 % 5].roll((i % 11, i % 7), (1, 2))[:, :size, :size].clone()
        picture[:, :8, :8] = torch.randint(256, (3, 8, 8), generator=random, dtype=torch.uint8)
        yield picture[None]


def chunks(h: int = 4, w: int = 4, every: int = 50) -> Iterator[TokenChunk]:
    """Chunks of one frame: one cell is new, another shows an older token; at times all are new."""
    source, tokens = torch.zeros(h * w, dtype=torch.int64), 0
    random = torch.Generator().manual_seed(0)
    cells = torch.stack([torch.arange(h * w) // w, torch.arange(h * w) % w], 1)
    for i in itertools.count():
        new = torch.arange(h * w) if i % every == 0 else torch.tensor([i % (h * w)])
        source = source.clone()
        source[(i * 7 + 3) % (h * w)] = source[i * 5 % (h * w)]
        source[new] = torch.arange(len(new)) + tokens
        kind = torch.zeros(h * w, dtype=torch.uint8)
        kind[new] = 2
        tokens += len(new)
        yield TokenChunk(
            torch.randn(len(new), 8, generator=random), torch.full_like(new, i), cells[new],
            torch.tensor([i / 30.0], dtype=torch.float64), torch.tensor([1 / 30.0]).double(),
            source.view(1, h, w), kind.view(1, h, w), torch.zeros(1, h, w, 2, dtype=torch.int8),
        )  # fmt: skip


# ---- what is pushed to


def gate(made: type[Gate] = Gate, **settings: Any) -> Push:
    known = made(patch=8, **settings)
    frames = planes()
    return lambda: known.push(next(frames))


def capped() -> Push:
    known, frames = CappedGate([0.3] * PUSHES, patch=8), planes()
    return lambda: known.push(next(frames))


def tower() -> Push:
    model = cases.tower("siglip", torch.float32, num_hidden_layers=1).requires_grad_(False)
    gated = patchgate.gated(model, mean=cases.MEAN, std=cases.STD, search_radius=4)
    stream, frames = gated.stream(), planes(cases.SIDE)
    return lambda: stream(cases.normalised(next(frames), torch.float32))


def merging(told: bool, **settings: Any) -> Push:
    stream, frames = MergeStream(window=16, **settings), chunks()

    def push() -> None:
        chunk = next(frames)
        stream.push(chunk, chunk.source if told else None)

    return push


def scenes() -> Push:
    tracker, frames, kept = SceneTracker(0.05, 4), chunks(every=1), torch.float32

    def push() -> None:
        chunk = next(frames)
        own = chunk.source - chunk.source.min()
        tracker.follow(chunk.features, chunk.kind, own, chunk.source, kept)

    return push


PUSHED: dict[str, tuple[Callable[[], Push], int]] = {
    "Gate": (gate, 0),
    "Gate, every rule": (lambda: gate(max_age=50, noise="adaptive", hysteresis=0.5), 0),
    "Gate, quarter pixels": (lambda: gate(motion_precision=4, on_motion="reuse"), 0),
    "WatchedGate": (lambda: gate(WatchedGate), 5 * 8),  # its numbers of every frame
    "CappedGate": (capped, 0),
    "TowerStream": (tower, 0),
    "MergeStream": (lambda: merging(True, ratio=0.6), 0),
    "MergeStream, a budget": (lambda: merging(True, budget=40, per="second"), 0),
    "MergeStream, a grid": (lambda: merging(True, ratio=0.8, keep_grid=True), 0),
    "MergeStream, not told": (lambda: merging(False, ratio=0.6), 8 * 2),  # tokens of a frame
    "MergeStream, a grid, not told": (lambda: merging(False, ratio=0.8, keep_grid=True), 24 * 2),
    "scenes": (scenes, 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUSHED)
def test_100_000_pushes(name: str) -> None:
    made, bytes_each = PUSHED[name]
    check_flat(made(), bytes_each=bytes_each)


@pytest.mark.parametrize("name", PUSHED)
def test_some_pushes_leave_nothing(name: str) -> None:
    """The same as far as a second goes: what is forgotten in each push shows already."""
    push, bytes_each = PUSHED[name][0](), PUSHED[name][1]
    few = 48 if name == "TowerStream" else 480  # of whole windows, and more scenes than remembered
    for _ in range(few):
        push()
    before = tensors()
    for _ in range(few):
        push()
    assert tensors() - before < 4096 + before // 8 + few * bytes_each


def tensors() -> int:
    """Bytes of all tensors that Python knows of."""
    gc.collect()
    storages = {
        x.untyped_storage().data_ptr(): x.untyped_storage().nbytes()
        for x in gc.get_objects()
        if issubclass(type(x), torch.Tensor)
        and not issubclass(type(x), FakeTensor)
        and x.layout is torch.strided  # sparse and nested ones have no storage of their own
        and not x.is_nested
    }
    return sum(storages.values())


@pytest.mark.slow
def test_what_is_written_to_disk_takes_no_memory(tmp_path: Path) -> None:
    known = Gate(patch=8, size=(32, 32))
    frames, features = chunks(), torch.zeros(16, 192, dtype=torch.uint8)
    with TokenSpill(tmp_path / "t", empty_chunk(known), layout_of(known, "bt601")) as spill:

        def push() -> None:
            chunk = next(frames)
            spill.add(chunk._replace(features=features[: len(chunk.frame)]))

        check_flat(push)


@pytest.mark.slow
def test_a_history_is_some_numbers_a_frame() -> None:
    before = resident()
    history = history_of(itertools.islice(chunks(), PUSHES), 16, None)
    assert len(history.changed) == PUSHES
    assert resident() - before < NOISE + 120 * PUSHES
