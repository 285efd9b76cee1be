"""A case on a GPU: right first, then timed, then set against its floor."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from gpu import Case
from gpu.device import Gpu
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


def measured_row(case: Case, device: Gpu, ceilings: Ceilings) -> dict[str, Any]:
    """A case checked and timed: median microseconds with a cold L2, and times its floor."""
    inputs = device.moved(case.inputs)
    check(case, inputs, device)
    with device.ops(case.kernel):
        low, middle, high = device.time_us(lambda: case.call(*inputs))
    row = floor_row(case, ceilings)
    row |= {
        "us": round(middle, 2),
        "quintiles us": f"{low:.2f}..{high:.2f}",
        "times floor": round(middle / max(row["floor us"], 0.01), 2),
        "GB/s": round(case.work.bytes / middle / 1e3, 1),
    }
    if case.baseline is not None:
        _, baseline, _ = device.time_us(lambda: case.baseline(*inputs))
        row |= {"baseline us": round(baseline, 2), "times faster": round(baseline / middle, 2)}
    return row


def check(case: Case, inputs: Sequence[Any], device: Gpu) -> None:
    """Raises AssertionError where the device and the CPU disagree."""
    with device.ops(case.kernel):
        ours = outputs(case.call(*inputs))
    theirs = outputs((case.expected or case.call)(*case.inputs))
    if not case.agree([each.cpu() for each in ours], theirs):
        raise AssertionError(f"{case.op} ({case.name}): the GPU's result is not the CPU's")


def outputs(result: Any) -> list[Tensor]:
    """The tensors that a call returns."""
    return [result] if isinstance(result, Tensor) else list(result)
