"""The GPU benchmarks' own parts: cases, counted floors, rows. What they time needs a GPU."""

import subprocess
import sys

import gpu
import harness
import pytest
import torch
from gpu import OPS, Case, all_cases, measure
from gpu.device import Gpu, OnCpu, Rehearsal
from gpu.floors import H200, Work, floor
from gpu.gather import COLOUR_OPERATIONS, counted, make_inputs, sectors
from hypothesis import given
from hypothesis import strategies as st

from patchgate.gate import RETURNED
from patchgate.gather import PixelSpec

TWICE = Case("op", "twice", Work(4300), (torch.ones(3),), lambda x: x * 2)


class OfTheCpu(Rehearsal):
    """The CPU with its own ops, and without a Triton to interpret."""

    def __init__(self) -> None:
        self.at = torch.device("cpu")

    def ops(self, kernel: str = "") -> OnCpu:
        return OnCpu(triton=False)


def test_the_slowest_unit_sets_the_floor() -> None:
    assert floor(Work(int(4.3e12))) == (1.0, "bytes")
    seconds, limit = floor(Work(1, integer=132 * 64 * 1980))
    assert limit == "integer"
    assert seconds == pytest.approx(1e-6)
    assert H200.float16_matrix == pytest.approx(1.07e15, rel=0.01)  # what its data sheet says


@pytest.mark.parametrize("small", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_every_op_has_cases_with_counted_work(small: bool) -> None:
    cases = all_cases(small=small)
    assert {case.op for case in cases} == set(OPS)
    names = [(case.op, case.name) for case in cases]
    assert len(set(names)) == len(names)
    for case in cases:
        floor_us = measure.floor_row(case)["floor us"]
        assert floor_us > (-1 if small else 0.5), case.name  # small: a hundredth of few is none


def test_an_op_without_cases_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no such op: grid; there are .*gather"):
        all_cases(["gather", "grid"])


@pytest.mark.parametrize("op", [op for op in OPS if op != "gather"])
def test_small_cases_run(op: str) -> None:
    """On the CPU a case is its own expectation: what is tested is that its inputs fit."""
    device = OfTheCpu()
    for case in all_cases([op], small=True):
        measure.check(case, device.moved(case.inputs), device)
        if case.baseline is not None:
            assert measure.outputs(case.baseline(*case.inputs))


def test_cases_of_the_gates_modes_do_what_they_are_about() -> None:
    """Cells are lit, cameras find what they find alone, and pictures come back."""
    found = {case.mode: case for case in reversed(all_cases(["gate"], small=True))}
    *_, lit = found["gate with light"].call(*OfTheCpu().moved(found["gate with light"].inputs))
    assert lit[0, 1:].all()
    cameras, memory = found["gates of cameras"], found["gate with memory"]
    assert cameras.baseline is not None
    assert gpu.same_bits(cameras.call(*cameras.inputs), cameras.baseline(*cameras.inputs))
    kind, *_ = memory.call(*memory.inputs)
    assert [bool((frame == RETURNED).all()) for frame in kind] == [False, False, True]


def test_small_gather_cases_run() -> None:
    for case in all_cases(["gather"], small=True):
        assert case.expected is not None
        assert len(case.expected(*case.inputs)) == len(case.inputs[3]) * case.inputs[10] ** 2
        assert case.inputs[1].stride(2) == 2  # NV12


@given(st.integers(0, 99), st.sampled_from([1, 2]))
def test_gather_counts_each_pixel_and_sector_once(seed: int, frames_of_a_tubelet: int) -> None:
    """Against taps one by one; every width of the picture is a whole number of samples."""
    spec = PixelSpec((24, 32), 0.5, 0.5, 8, temporal_patch=frames_of_a_tubelet)  # type: ignore[arg-type]
    size = (30 + seed % 40, 40 + seed)
    inputs = make_inputs(size, 3, spec, 0.2, torch.float16, 8)
    index, taps_x, taps_y = inputs[3:6]
    pixels = set()
    for cell in index.tolist():
        t, y, x = cell // 12, cell // 4 % 3, cell % 4
        for row in taps_y[y * 8 : y * 8 + 8, 0].tolist():
            for column in taps_x[x * 8 : x * 8 + 8, 0].tolist():
                pixels |= {
                    (frame, row + i, column + j)
                    for frame in range(t * frames_of_a_tubelet, (t + 1) * frames_of_a_tubelet)
                    for i in range(taps_y.shape[1] - 1)
                    for j in range(taps_x.shape[1] - 1)
                    if frame < 3
                }
    luma = {(t, y, x // 32) for t, y, x in pixels}
    chroma = {(t, y // 2, x // 2 * 2 // 32) for t, y, x in pixels}
    written = len(index) * 3 * frames_of_a_tubelet * 64 * 2
    work = counted(inputs, spec)
    assert work.integer == COLOUR_OPERATIONS * len(pixels)
    assert work.bytes == 32 * (len(luma) + len(chroma)) + written


def test_sectors_of_wider_samples_hold_fewer() -> None:
    reached = torch.zeros(1, 2, 40, dtype=torch.bool)
    reached[0, 1, 15:17] = True
    assert sectors(reached, 1) == 64  # one of luma, one of chroma
    assert sectors(reached, 2) == 128


def test_a_wrong_result_is_not_timed() -> None:
    measure.check(TWICE, TWICE.inputs, OfTheCpu())
    with pytest.raises(AssertionError, match=r"op .twice.: the GPU's result is not the CPU's"):
        measure.check(TWICE, (torch.zeros(3),), OfTheCpu())


def test_a_row_has_time_floor_and_baseline() -> None:
    times = iter([(3.0, 4.0, 5.0), (30.0, 40.0, 50.0)])

    class Timed(OfTheCpu):
        def time_us(self, call: object) -> tuple[float, float, float]:
            return next(times)

    case = Case(*(getattr(TWICE, name) for name in ("op", "name")), Work(4_300_000), TWICE.inputs,
                TWICE.call, baseline=torch.neg)  # fmt: skip
    row = measure.measured_row(case, Timed(), H200)
    assert row["floor us"] == 1.0
    assert row["times floor"] == 4.0
    assert row["GB/s"] == 1075.0
    assert row["times faster"] == 10.0


def test_without_a_gpu_there_is_no_device_but_the_rehearsals() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(RuntimeError, match="no CUDA device"):
        Gpu()


def test_what_is_moved_keeps_its_strides_and_is_a_copy() -> None:
    memory = torch.arange(24, dtype=torch.uint8).view(4, 6)
    chroma, count = OfTheCpu().moved((memory[:, 1::2], 5))
    assert count == 5
    assert torch.equal(chroma, memory[:, 1::2])
    assert chroma.stride() == (6, 2)
    chroma.fill_(0)
    assert memory[0, 1] == 1


def test_floors_are_printed_without_a_gpu() -> None:
    command = [sys.executable, str(harness.ROOT / "benchmarks" / "gpu"), "--floors", "expand"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("| op | case | MB | floor us | limit |")
    assert len(lines) == 2 + len(all_cases(["expand"]))
