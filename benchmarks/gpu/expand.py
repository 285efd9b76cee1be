"""Expand: 32 frames of so400m/14 at 384 px, of which a tenth was kept."""

import math

import torch

from gpu import Case
from gpu.floors import Work
from patchgate import _ops

WIDTH = 1152


def cases(small: bool) -> list[Case]:
    shape = (2, 9, 9) if small else (32, 27, 27)  # T, h, w
    made = [_case(shape, dtype) for dtype in (torch.float16, torch.float32)]
    return [*made, _gradient(shape, torch.bfloat16)]


def _source(shape: tuple[int, int, int]) -> torch.Tensor:
    """Nine of ten cells show an older token: the tokens of the cells so far, sorted or not."""
    tokens = math.prod(shape) // 10
    return torch.randint(0, tokens, shape, generator=torch.Generator().manual_seed(0))


def _case(shape: tuple[int, int, int], dtype: torch.dtype) -> Case:
    source = _source(shape)
    features = torch.randn(int(source.max()) + 1, WIDTH).to(dtype)
    row = WIDTH * features.element_size()
    moved = (len(features) + source.numel()) * row + 8 * source.numel()
    op = _ops.expand
    return Case("expand", f"{shape[0]} frames, {_told(dtype)}", Work(moved), (features, source), op)


def _gradient(shape: tuple[int, int, int], dtype: torch.dtype) -> Case:
    source = _source(shape)
    tokens = int(source.max()) + 1
    # Small whole numbers: sums are exact whatever their order, and need no rounding at the end.
    grad = torch.randint(-5, 6, (*source.shape, WIDTH)).to(dtype)
    row = WIDTH * grad.element_size()
    moved = (tokens + source.numel()) * row + 8 * source.numel()
    work = Work(moved, float32=grad.numel())
    name = f"gradient, {shape[0]} frames, {_told(dtype)}"
    return Case(
        "expand", name, work, (grad, source, tokens), _ops.expand_backward,
        baseline=_index_add, kernel="expand_backward",
    )  # fmt: skip


def _index_add(grad: torch.Tensor, source: torch.Tensor, tokens: int) -> torch.Tensor:
    """What indexing's own gradient does: atomic adds, each rounded to the gradient's dtype."""
    out = grad.new_zeros((tokens, grad.shape[-1]))
    return out.index_add(0, source.flatten(), grad.flatten(0, -2))


def _told(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
