"""Every Triton kernel compiles for every architecture, and what must not spill does not.

In other processes: here the interpreter may be switched on, and it compiles nothing.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")
import triton

import patchgate.kernels

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(patchgate.kernels.__path__[0])
OPS = sorted(
    path.stem for path in FOLDER.glob("*.py") if "\ndef variants(" in path.read_text("utf-8")
)
# Shared memory that a block may ask for, in bytes (CUDA C++ Programming Guide, table of
# "Technical Specifications per Compute Capability").
ARCHITECTURES = {"sm_80": 163 << 10, "sm_90": 227 << 10, "sm_100": 227 << 10}


def run(*command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def checked(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert 0 < row["registers"] <= 255, row
        assert row["shared"] <= ARCHITECTURES[row["arch"]], row
        assert not (row["hot"] and row["spills"]), row


def test_every_op_is_listed() -> None:
    assert {"expand", "gather"} <= set(OPS)


def test_the_main_variant_of_every_op_compiles() -> None:
    """One process, the first variant of each op, for Hopper."""
    code = (
        "import json, sys; sys.path.insert(0, 'benchmarks')\n"
        "from compiled.triton import compiled_row, kernel_variants\n"
        "print(json.dumps([compiled_row(op, all_[0], 90) for op, all_ in kernel_variants()]))"
    )
    rows = json.loads(run("-c", code))
    assert [row["op"] for row in rows] == OPS
    checked(rows)


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS)
def test_every_variant_compiles_for_every_architecture(op: str) -> None:
    rows = json.loads(run("benchmarks/compiled", "--json", op))
    variants = {row["variant"] for row in rows}
    assert {(row["variant"], row["arch"]) for row in rows} == {
        (variant, arch) for variant in variants for arch in ARCHITECTURES
    }
    checked(rows)


@pytest.mark.skipif(
    not triton.__version__.startswith("3.6."),
    reason="Triton 3.7 lays these tiles out otherwise: docs/gpu.md",
)
def test_a_warp_of_gather_reads_along_the_rows() -> None:
    """Where Cb and Cr share a plane Triton does not see it by itself: a tile is [X, Y] for that."""
    code = (
        "import sys; sys.path.insert(0, 'benchmarks')\n"
        "from compiled.triton import compile_for\n"
        "from patchgate.kernels.gather import variants\n"
        "print(compile_for(variants()[0].launch, 90).asm['ttgir'])"
    )
    text = run("-c", code)
    loads = re.findall(r"tt\.load .*: tensor<\d+x\d+x!tt\.ptr<i8>, (#\w+)>", text)
    layouts = dict(re.findall(r"^(#\w+) = (#ttg\.blocked<.*>)$", text, re.MULTILINE))
    assert len(loads) == 10  # luma, and chroma of two rows and columns, in two phases
    for layout in loads:
        assert "threadsPerWarp = [16, 2]" in layouts[layout]


def test_the_report_is_told_apart_from_the_compiler() -> None:
    """ptxas's words, and a spill that is found."""
    code = (
        "import json, sys; sys.path.insert(0, 'benchmarks')\n"
        "from compiled import compact, spilled\n"
        "from compiled.triton import parse_ptxas\n"
        "told = parse_ptxas('''ptxas info: 8 bytes stack frame, 12 bytes spill stores, "
        "4 bytes spill loads\\nptxas info: Used 40 registers, 368 bytes cmem[0]''')\n"
        "row = dict(op='a', variant='b', arch='sm_90', registers=told['registers'], shared=0,\n"
        "           threads=128, stack=told['stack'], spills=told['stores'] + told['loads'])\n"
        "rows = [row | {'hot': True}, row | {'hot': False}, row | {'hot': True, 'spills': 0}]\n"
        "print(json.dumps([told, len(spilled(rows)), compact(rows[:1])]))"
    )
    told, spills, lines = json.loads(run("-c", code))
    assert told == {"registers": 40, "stack": 8, "stores": 12, "loads": 4}
    assert spills == 1
    assert lines == [{"op": "a", "variant": "b", "threads": 128, "sm_90": "40 / 0 / 16"}]
