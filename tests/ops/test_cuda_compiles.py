"""The compile report of the CUDA kernels: how it reads nvcc, and that nothing spills."""

import shutil

import pytest
from compiled import cuda

TOLD = """
ptxas info    : 28 bytes gmem
ptxas info    : Compiling entry function '_ZN9patchgate18gate_frames_kernelILi14ELi7EEEvNS_8GatePlanE' for 'sm_90'
ptxas info    : Function properties for _ZN9patchgate18gate_frames_kernelILi14ELi7EEEvNS_8GatePlanE
    16 bytes stack frame, 20 bytes spill stores, 116 bytes spill loads
ptxas info    : Used 80 registers, used 1 barriers, 16 bytes cumulative stack size, 528 bytes smem
ptxas info    : Compiling entry function '_ZN9patchgate14compact_kernelENS_11CompactPlanE' for 'sm_80'
ptxas info    : Function properties for _ZN9patchgate14compact_kernelENS_11CompactPlanE
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 36 registers, used 1 barriers, 424 bytes cmem[0]
"""  # noqa: E501


def test_what_nvcc_says_is_read() -> None:
    first, second = cuda.rows_of("gate", TOLD)
    assert first == {
        "op": "gate", "variant": "gate_frames<14, 7>", "arch": "sm_90", "registers": 80,
        "shared": 528, "threads": 256, "stack": 16, "spills": 136, "hot": True,
    }  # fmt: skip
    assert (second["variant"], second["arch"]) == ("compact", "sm_80")
    assert (second["registers"], second["shared"], second["spills"]) == (36, 0, 0)


def test_names_say_what_a_kernel_was_made_for() -> None:
    mangled = "_ZN9patchgate17frame_grid_kernelI{}EEvNS_8GridPlanIT_EE"
    assert cuda.readable(mangled.format("h")) == "frame_grid<u8>"
    assert cuda.readable(mangled.format("t")) == "frame_grid<u16>"
    apart = "_ZN9patchgate17gate_apart_kernelILi0ELi8EEEvNS_8GatePlanE"
    assert cuda.readable(apart) == "gate_apart<0, 8>"


def test_without_nvcc_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDACXX", "no-such-compiler")
    with pytest.raises(RuntimeError, match="no nvcc"):
        cuda.cuda_report(["compact"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_every_kernel_compiles_for_every_architecture_and_none_spills() -> None:
    rows = cuda.cuda_report()
    assert {row["op"] for row in rows} == {"compact", "frame_grid", "gate"}
    kernels = {(row["op"], row["variant"]) for row in rows}
    assert len(kernels) == 12
    assert len(rows) == len(kernels) * len(cuda.ARCHITECTURES)
    assert [row for row in rows if row["spills"] or row["stack"]] == []
