"""The gate's CUDA kernels, emulated, beside the op on the CPU or the definition."""

from typing import Any

import pytest
import torch
from gate_cases import NAMES, STATE_NAMES, copied
from torch import Tensor

from patchgate.reference.gate import gate as definition

module = pytest.importorskip("patchgate._tested", reason="built only beside the sources")

op = torch.ops.patchgate.gate


def emulated(args: tuple[Any, ...], blocks: int, seed: int) -> list[Tensor]:
    """The kernel on the op's arguments; the state is updated in place."""
    planes = args[0].contiguous().numpy()
    rest = [arg.numpy() if isinstance(arg, Tensor) else arg for arg in args[1:]]
    return [torch.from_numpy(a) for a in module.gate(planes, *rest, blocks=blocks, seed=seed)]


def assert_equals_cpu(
    args: tuple[Any, ...], pushes: int = 1, blocks: int = 3, seed: int = 0, expect: Any = op
) -> None:
    """Results and state after each of a few pushes. Even seeds let some warps run far ahead."""
    ours, theirs = copied(args[1:8]), copied(args[1:8])
    for i, planes in enumerate(args[0].tensor_split(pushes, 1)):
        if planes.shape[1] == 0:
            continue  # the op launches nothing
        got = emulated((planes, *ours, *args[8:]), blocks, seed + 2 * i)
        expected = expect(planes, *theirs, *args[8:])
        for name, a, b in zip(
            NAMES + STATE_NAMES, (*got, *ours), (*expected, *theirs), strict=True
        ):
            assert a.dtype == b.dtype, name
            assert torch.equal(a, b), name


def assert_is_defined(args: tuple[Any, ...], **how: Any) -> None:
    """Equal to the definition, in plain torch: motion to a fraction of a pixel."""
    assert_equals_cpu(args, **how, expect=definition)
