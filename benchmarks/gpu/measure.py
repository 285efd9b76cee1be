"""A case on a GPU: right first, then timed, then set against its floor."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gpu import Case
from gpu.floors import H200, Ceilings, floor


def floor_row(case: Case, ceilings: Ceilings = H200) -> dict[str, Any]:
    """What a case costs at least."""
    seconds, limit = floor(case.work, ceilings)
    return {
        "op": case.op,
        "case": case.name,
        "MB": round(case.work.bytes / 1e6, 3),
        "floor us": round(seconds * 1e6, 2),
        "limit": limit,
    }


def measured_row(case: Case, ceilings: Ceilings) -> dict[str, Any]:
    """A case checked and timed: median microseconds with a cold L2, and times its floor."""
    inputs = on_gpu(case.inputs)
    check(case, inputs)
    low, middle, high = time_us(lambda: case.call(*inputs))
    row = floor_row(case, ceilings)
    row |= {
        "us": round(middle, 2),
        "quintiles us": f"{low:.2f}..{high:.2f}",
        "times floor": round(middle / row["floor us"], 2),
        "GB/s": round(case.work.bytes / middle / 1e3, 1),
    }
    if case.baseline is not None:
        _, baseline, _ = time_us(lambda: case.baseline(*inputs))
        row |= {"baseline us": round(baseline, 2), "times faster": round(baseline / middle, 2)}
    return row


def check(case: Case, inputs: Sequence[Any]) -> None:
    """Raises AssertionError where the GPU and the CPU disagree."""
    ours = outputs(case.call(*inputs))
    theirs = outputs((case.expected or case.call)(*case.inputs))
    if not case.agree([each.cpu() for each in ours], theirs):
        raise AssertionError(f"{case.op} ({case.name}): the GPU's result is not the CPU's")


def outputs(result: Any) -> list[Tensor]:
    """The tensors that a call returns."""
    return [result] if isinstance(result, Tensor) else list(result)


def on_gpu(inputs: Sequence[Any]) -> list[Any]:
    """Tensors with their strides: a plane cut from a surface stays one."""
    return [_moved(each) if isinstance(each, Tensor) else each for each in inputs]


def _moved(tensor: Tensor) -> Tensor:
    base = tensor if tensor._base is None else tensor._base
    there = base.cuda()
    return there.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def time_us(call: Any) -> tuple[float, float, float]:
    """Microseconds: 20th percentile, median, 80th; L2 is cleared before every call."""
    from triton.testing import do_bench

    low, middle, high = do_bench(call, warmup=50, rep=200, quantiles=[0.2, 0.5, 0.8])
    return low * 1e3, middle * 1e3, high * 1e3


def ceilings_here() -> Ceilings:
    """Of the GPU at hand: its copy bandwidth is measured."""
    properties = torch.cuda.get_device_properties(0)
    source = torch.randint(0, 256, (1 << 31,), dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    _, middle, _ = time_us(lambda: target.copy_(source))
    copied = 2 * source.numel() / (middle * 1e-6)
    return Ceilings.of(properties.name, properties.multi_processor_count, copied)


def result_name(gpu: str, date: str) -> str:
    """ "NVIDIA H200" on 2026-11-23: nvidia-h200-2026-11-23."""
    return re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-") + "-" + date
