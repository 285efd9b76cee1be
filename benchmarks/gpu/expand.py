"""Expand: 32 frames of so400m/14 at 384 px, of which a tenth was kept."""

import torch

from gpu import Case
from gpu.floors import Work
from patchgate import _ops

WIDTH, CELLS = 1152, 27 * 27


def cases(small: bool) -> list[Case]:
    frames = 2 if small else 32
    return [_case(frames, dtype) for dtype in (torch.float16, torch.float32)] + [
        _gradient(frames, torch.bfloat16)
    ]


def _source(frames: int) -> torch.Tensor:
    """Nine of ten cells show an older token: the tokens of the cells so far, sorted or not."""
    cells = frames * CELLS
    return torch.randint(
        0, cells // 10, (frames, 27, 27), generator=torch.Generator().manual_seed(0)
    )


def _case(frames: int, dtype: torch.dtype) -> Case:
    source = _source(frames)
    features = torch.randn(int(source.max()) + 1, WIDTH).to(dtype)
    row = WIDTH * features.element_size()
    moved = (len(features) + source.numel()) * row + 8 * source.numel()
    op = _ops.expand
    return Case("expand", f"{frames} frames, {_told(dtype)}", Work(moved), (features, source), op)


def _gradient(frames: int, dtype: torch.dtype) -> Case:
    source = _source(frames)
    tokens = int(source.max()) + 1
    # Whole numbers: sums are exact in float32, whatever their order.
    grad = torch.randint(-100, 100, (*source.shape, WIDTH)).to(dtype)
    row = WIDTH * grad.element_size()
    moved = (tokens + source.numel()) * row + 8 * source.numel()
    work = Work(moved, float32=grad.numel())
    name = f"gradient, {frames} frames, {_told(dtype)}"
    return Case(
        "expand", name, work, (grad, source, tokens), _ops.expand_backward,
        baseline=_index_add,
    )  # fmt: skip


def _index_add(grad: torch.Tensor, source: torch.Tensor, tokens: int) -> torch.Tensor:
    """What indexing's own gradient does: atomic adds, each rounded to the gradient's dtype."""
    out = grad.new_zeros((tokens, grad.shape[-1]))
    return out.index_add(0, source.flatten(), grad.flatten(0, -2))


def _told(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
