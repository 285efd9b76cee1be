"""GPU benchmarks: every op against the CPU first, then timed against the floor that it cannot beat.

    python benchmarks/gpu gather          an op's times, printed (stages/ keeps them)
    python benchmarks/gpu --floors        the counted floors on an H200; needs no GPU
    python benchmarks/gpu --small         small sizes, checked and not timed: for compute-sanitizer

device.py is what they run on, a GPU or a rehearsal; measure.py checks and times a case.

An op is a module here, ``<op>.py`` with one function ``cases(small)`` that returns a list of
``Case``, and a name in ``OPS``.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpu.floors import Work

OPS = (  # along the path of a frame
    "frame_grid",
    "gate",
    "compact",
    "gather",
    "pipeline",
    "residual_attention",
    "exchange",
    "activate",
    "expand",
    "segment_mean",
    "nearest_token",
    "row_distance",
)


def same_bits(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Integers, and floats that are only copied."""
    pairs = zip(ours, theirs, strict=True)
    return all(a.dtype == b.dtype and torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)


@dataclass(frozen=True)
class Case:
    """One call of one op, on inputs that are made once.

    Args:
        op, name: of the row: "gather", "1080p NV12, 10 % kept, fp16".
        work: what it must move and compute, counted on its inputs.
        inputs: on the CPU, as many as ``call`` takes; tensors are moved to the GPU.
        call: what is timed.
        expected: what is compared, on the CPU's inputs; None: ``call`` itself.
        agree: whether outputs, brought to the CPU, are right.
        baseline: what a user would do without the op, on the same inputs; timed beside it.
        kernel: the op of torch that it calls, where that is not called as ``op``; "-": several.
        mode: a way to call the op that has a line of its own in benchmarks/GPU.md.
    """

    op: str
    name: str
    work: Work
    inputs: tuple[Any, ...]
    call: Callable[..., Any]
    expected: Callable[..., Any] | None = None
    agree: Callable[[Sequence[Tensor], Sequence[Tensor]], bool] = same_bits
    baseline: Callable[..., Any] | None = None
    kernel: str = ""
    mode: str = ""


def all_cases(ops: Sequence[str] = (), small: bool = False) -> list[Case]:
    """The cases of every op, or of those named.

    Raises:
        ValueError: a name that is no op here.
    """
    if unknown := set(ops) - set(OPS):
        raise ValueError(f"no such op: {', '.join(sorted(unknown))}; there are {', '.join(OPS)}")
    modules = [importlib.import_module(f"{__name__}.{op}") for op in ops or OPS]
    return [case for module in modules for case in module.cases(small)]
