"""The CUDA kernels' half of the compile report: every kernel of csrc/cuda for every architecture.

Compiled as CMake compiles them, with nvcc's own account of what each kernel takes (``-Xptxas -v``).
No GPU.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiled import Row

SOURCES = Path(__file__).resolve().parents[2] / "csrc"
ARCHITECTURES = (80, 90, 100)
THREADS = 256  # of every block: csrc/cuda/*_kernels.h

_ENTRY = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\d+)\w?'")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_NAME = re.compile(r"\d+([a-z_]+)_kernel(?:I(\w*?)EE)?")
_TYPES = {"h": "u8", "t": "u16"}


def cuda_report(ops: list[str] | None = None) -> list[Row]:
    """Every kernel of every file in csrc/cuda, for every architecture.

    ``shared`` is what the compiler knows of; the gate, compact and the frame grid ask for theirs at
    the launch, and the compiler says 0.

    Raises:
        RuntimeError: there is no nvcc, or it failed.
    """
    found = sorted(each.stem for each in (SOURCES / "cuda").rglob("*.cu"))
    return [row for op in found if ops is None or op in ops for row in rows_of(op, compiled(op))]


def compiled(op: str) -> str:
    """What nvcc says while it compiles one op for all architectures."""
    nvcc = shutil.which(os.environ.get("CUDACXX", "nvcc"))
    if nvcc is None:
        raise RuntimeError("no nvcc on the path (or in CUDACXX): nothing can be compiled")
    torch = importlib.util.find_spec("torch")
    assert torch is not None
    assert torch.origin is not None
    source = next((SOURCES / "cuda").rglob(f"{op}.cu"))
    with tempfile.TemporaryDirectory() as folder:
        command = [
            nvcc, "-c", str(source), "-o", f"{folder}/{op}.o",
            "-std=c++20", "-O3", "-DNDEBUG", "-fmad=false", "-Xcompiler=-fPIC", "-Xptxas=-v",
            "-DTORCH_TARGET_VERSION=0x020b000000000000", f"-I{SOURCES}",
            "-isystem", str(Path(torch.origin).parent / "include"),
            *(f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in ARCHITECTURES),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"nvcc could not compile {op}.cu:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def rows_of(op: str, told: str) -> Iterator[Row]:
    """The rows in what nvcc said."""
    entries = list(_ENTRY.finditer(told))
    ends = [entry.start() for entry in entries[1:]] + [len(told)]
    for entry, end in zip(entries, ends, strict=True):
        body = told[entry.end() : end]
        frame, used, shared = _FRAME.search(body), _USED.search(body), _SHARED.search(body)
        assert frame is not None
        assert used is not None
        yield {
            "op": op,
            "variant": readable(entry[1]),
            "arch": f"sm_{entry[2]}",
            "registers": int(used[1]),
            "shared": int(shared[1]) if shared else 0,
            "threads": THREADS,
            "stack": int(frame[1]),
            "spills": int(frame[2]) + int(frame[3]),
            "hot": True,
        }


def readable(mangled: str) -> str:
    """``_ZN9patchgate18gate_frames_kernelILi14ELi7EEEv..`` is "gate_frames<14, 7>"."""
    name = _NAME.search(mangled)
    assert name is not None
    if name[2] is None:
        return name[1]
    arguments = re.findall(r"Li(\d+)E?|([ht])", name[2])
    return f"{name[1]}<{', '.join(number or _TYPES[letter] for number, letter in arguments)}>"
