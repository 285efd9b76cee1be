"""The Triton kernels' half of the compile report: every variant for every architecture.

Compiled by Triton exactly as a launch would, against a driver that only names a GPU; then ``ptxas``
tells what Triton does not: registers, stack and spills. No GPU and no interpreter.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from compiled import Row

ARCHITECTURES = (80, 90, 100)


def triton_report(ops: list[str] | None = None) -> list[Row]:
    """Every variant of every file in ``kernels/``, for every architecture."""
    return [
        compiled_row(op, variant, arch)
        for op, variants in kernel_variants()
        if ops is None or op in ops
        for variant in variants
        for arch in ARCHITECTURES
    ]


def kernel_variants() -> Iterator[tuple[str, list[Any]]]:
    """Each op of ``kernels/`` and its variants."""
    import patchgate.kernels as package

    for module in sorted(each.name for each in pkgutil.iter_modules(package.__path__)):
        kernels = importlib.import_module(f"{package.__name__}.{module}")
        if hasattr(kernels, "variants"):
            yield module, kernels.variants()


def compiled_row(op: str, variant: Any, arch: int) -> Row:
    """What one variant takes of one architecture."""
    compiled = compile_for(variant.launch, arch)
    told = ptxas_report(compiled.asm["ptx"], arch)
    return {
        "op": op,
        "variant": variant.name,
        "arch": f"sm_{arch}",
        "registers": told["registers"],
        "shared": compiled.metadata.shared,
        "threads": 32 * compiled.metadata.num_warps,
        "stack": told["stack"],
        "spills": told["stores"] + told["loads"],
        "hot": variant.hot,
    }


def compile_for(launch: Any, arch: int) -> Any:
    """A launch's kernel, specialised as that launch would be, for an architecture."""
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise RuntimeError("the interpreter compiles nothing: unset TRITON_INTERPRET")
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    target = GPUTarget("cuda", arch, 32)
    driver.set_active(
        SimpleNamespace(
            get_current_device=lambda: arch,  # what the compiled kernels are cached under
            get_current_stream=lambda device: 0,
            get_current_target=lambda: target,
        )
    )
    return launch.kernel.warmup(*launch.arguments, grid=(1,), **launch.options)


def ptxas_report(ptx: str, arch: int) -> dict[str, int]:
    """What Triton's own ``ptxas -v`` says of its only kernel."""
    from triton.backends.nvidia.compiler import get_ptxas, sm_arch_from_capability

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(ptx)
        command = [
            get_ptxas(arch).path, "-v", f"--gpu-name={sm_arch_from_capability(arch)}",
            str(source), "-o", str(source.with_suffix(".cubin")),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return parse_ptxas(done.stderr + done.stdout)


def parse_ptxas(text: str) -> dict[str, int]:
    """Registers, stack, spill stores and loads (bytes) of one kernel in ``ptxas -v``'s words."""
    patterns = {
        "registers": r"Used (\d+) registers",
        "stack": r"(\d+) bytes stack frame",
        "stores": r"(\d+) bytes spill stores",
        "loads": r"(\d+) bytes spill loads",
    }
    found = {name: re.findall(pattern, text) for name, pattern in patterns.items()}
    if any(len(values) != 1 for values in found.values()):
        raise ValueError(f"ptxas -v: expected one kernel, got {text!r}")
    return {name: int(values[0]) for name, values in found.items()}
