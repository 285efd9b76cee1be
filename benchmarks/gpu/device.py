"""What the GPU benchmarks run on: a GPU, or in its place this machine, for a rehearsal.

A rehearsal takes the same calls at tiny sizes: ops in CUDA C++ are the CPU's, those in Triton run
in Triton's interpreter. Its times mean nothing.
"""

import contextlib
import importlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from commit import ROOT
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gpu.floors import H200, Ceilings
from patchgate import build_info
from patchgate._ops import triton


class Gpu:
    """The first CUDA device."""

    rehearsed = False
    small = False
    backend = "inductor"  # of torch.compile

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise RuntimeError("no CUDA device")
        self.at = torch.device("cuda", 0)
        self.name = torch.cuda.get_device_name(self.at)
        major, minor = torch.cuda.get_device_capability(self.at)
        self.architecture = 10 * major + minor
        built = build_info()["cuda_architectures"]
        # Machine code for a chip runs on every later one of its generation.
        if not any(int(each.split("-")[0]) // 10 == major for each in built):
            raise RuntimeError(
                f"the library has no kernels for sm_{self.architecture}, only for {built}"
            )

    def moved(self, inputs: Sequence[Any]) -> list[Any]:
        """Tensors on the GPU with their strides: a plane cut from a surface stays one."""
        return [self._moved(each) if isinstance(each, Tensor) else each for each in inputs]

    def _moved(self, tensor: Tensor) -> Tensor:
        base = tensor if tensor._base is None else tensor._base
        there = base.to(self.at, copy=True)
        return there.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    def ops(self, kernel: str = "") -> contextlib.AbstractContextManager[Any]:
        """Inside it, ops are those of the device.

        Args:
            kernel: of the case that is run: "-" where it calls several.
        """
        return contextlib.nullcontext()

    def finish(self) -> None:
        """Waits for all work."""
        torch.cuda.synchronize(self.at)

    def usable(self) -> bool:
        """Whether it still works: after some errors nothing of this process does."""
        try:
            self.finish()
            torch.zeros(1, device=self.at).add_(1).item()
            torch.cuda.empty_cache()
        except RuntimeError:
            return False
        return True

    def time_us(self, call: Callable[[], Any]) -> tuple[float, float, float]:
        """Microseconds: 20th percentile, median, 80th; L2 is cleared before every call."""
        from triton.testing import do_bench

        low, middle, high = do_bench(call, warmup=50, rep=200, quantiles=[0.2, 0.5, 0.8])
        return low * 1e3, middle * 1e3, high * 1e3

    def ceilings(self) -> Ceilings:
        """The rates of the GPU at hand: its copy bandwidth is measured."""
        properties = torch.cuda.get_device_properties(self.at)
        source = torch.randint(0, 256, (1 << 31,), dtype=torch.uint8, device=self.at)
        target = torch.empty_like(source)
        _, middle, _ = self.time_us(lambda: target.copy_(source))
        copied = 2 * source.numel() / (middle * 1e-6)
        return Ceilings.of(properties.name, properties.multi_processor_count, copied)

    def captured(self, call: Callable[[], Any]) -> Callable[[], Any]:
        """What replays a graph of the call, which is made twice: warm, then into the graph."""
        side = torch.cuda.Stream(self.at)
        side.wait_stream(torch.cuda.current_stream(self.at))
        with torch.cuda.stream(side):
            call()
        torch.cuda.current_stream(self.at).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = call()

        def replayed() -> Any:
            graph.replay()
            return out

        return replayed


class Rehearsal(Gpu):
    """This machine's CPU."""

    rehearsed = True
    small = True
    name = "rehearsal"
    architecture = 90
    backend = "eager"

    def __init__(self) -> None:
        if os.environ.get("TRITON_INTERPRET") != "1":
            raise RuntimeError("a rehearsal needs TRITON_INTERPRET=1 from the beginning")
        self.at = torch.device("cpu")
        sys.path.append(str(ROOT / "tests" / "cases"))
        importlib.import_module("interpreted")  # mends the interpreter

    def ops(self, kernel: str = "") -> contextlib.AbstractContextManager[Any]:
        return OnCpu(triton=kernel != "-")  # what calls several has too many cells to interpret

    def finish(self) -> None:
        pass

    def usable(self) -> bool:
        return True

    def time_us(self, call: Callable[[], Any]) -> tuple[float, float, float]:
        begin = time.perf_counter()
        call()
        spent = 1e6 * (time.perf_counter() - begin)
        return spent, spent, spent

    def ceilings(self) -> Ceilings:
        return H200

    def captured(self, call: Callable[[], Any]) -> Callable[[], Any]:
        call()
        return call


class OnCpu(TorchDispatchMode):
    """Inside it, ops take what a GPU's take, for tensors of the CPU.

    Args:
        triton: those that a GPU has in Triton are their Triton code.
    """

    def __init__(self, triton: bool) -> None:
        super().__init__()
        self._triton = triton

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        space, _, name = func.name().partition("::")
        if space == "patchgate" and self._triton and name in triton.OPS:
            func = triton.by_triton(name)
        elif space == "patchgate" and name in ("frame_grid", "gather"):
            # On the CPU the samples of a row are side by side.
            args = (*(plane.contiguous() for plane in args[:3]), *args[3:])
        return func(*args, **(kwargs or {}))


def here(rehearsed: bool = False) -> Gpu:
    """The device.

    Raises:
        RuntimeError: there is none, or the library has no kernels for it.
    """
    return Rehearsal() if rehearsed else Gpu()
