"""What the stages run and what is made of their facts, as far as it needs no GPU."""

import json
from pathlib import Path
from typing import Any

import pytest
from compiled.triton import kernel_variants
from gpu import Case, all_cases, device, films
from gpu.floors import Work
from interpreted import interpreted
from stages import KERNELS, MODES, PATHS, ahead, equal, page, sanitizer, speed
from stages.facts import Facts

import patchgate
from patchgate._ops import triton
from patchgate.kernels.launch import Launch

ROOT = Path(__file__).resolve().parents[2]


def test_the_kernels_are_those_of_the_sources() -> None:
    cuda = {path.stem for path in (ROOT / "csrc" / "cuda").rglob("*.cu")}
    assert set(KERNELS) == cuda | set(triton.OPS) | {"row_distance"}
    assert len(set(KERNELS)) == len(KERNELS)


@pytest.mark.parametrize("op", triton.OPS)
def test_every_op_in_triton_is_found_where_it_is_said_to_be(op: str) -> None:
    assert triton.by_triton(op).__name__ == op


@interpreted
def test_each_kernel_and_mode_has_an_item_in_the_rehearsal_too() -> None:
    rehearsal = device.here(rehearsed=True)
    for stage in (equal, speed):
        assert {item.kernel for item in stage.items(rehearsal)} - {""} == {*KERNELS, *MODES}
    assert set(speed.IMPORTANT) == {case.op for case in all_cases(small=True)}


@interpreted
def test_in_a_rehearsal_the_interpreter_takes_the_gpus_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is compared with the CPU's op is not that op again."""
    (case, *_) = all_cases(["expand"], small=True)
    asked: list[str] = []
    by_triton = triton.by_triton
    monkeypatch.setattr(triton, "by_triton", lambda op: asked.append(op) or by_triton(op))
    facts = list(equal.one(case, device.here(rehearsed=True)))
    assert asked == ["expand", "expand"]
    assert [fact.get("equal") for fact in facts] == [None, True]
    monkeypatch.setattr(triton, "by_triton", lambda op: lambda *given: by_triton(op)(*given) + 1)
    facts = list(equal.one(case, device.here(rehearsed=True)))
    assert [fact.get("result") for fact in facts] == [None, "failed"]


def name_of(launch: Launch) -> str:
    """The name of its kernel, interpreted or not."""
    return str(getattr(launch.kernel, "fn", launch.kernel).__name__)


@interpreted
def test_every_triton_kernel_is_compiled_ahead() -> None:
    """All launches of the small cases are seen, none is made, and each kind is there once."""
    launches = ahead.recorded(90)
    reported = [each.launch for _, variants in kernel_variants() for each in variants]
    assert {name_of(each) for each in launches} == {name_of(each) for each in reported}
    kinds = [ahead.kind_of(each) for each in launches]
    assert len(set(kinds)) == len(kinds)


def test_files_of_tests_that_need_a_gpu_are_all_run() -> None:
    marked = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytest.mark." + "needs_cuda" in path.read_text()
    ]
    assert sanitizer.test_files() == marked


def test_a_test_that_fails_is_a_fact_at_once_and_each_file_is_one_at_the_end() -> None:
    """As pytest prints them, alone and with xdist; names may have spaces in them."""
    lines = [
        "collecting ... collected 3 items\n",
        "tests/gpu/test_a_cuda.py::test_one[{'a': 1} b] PASSED            [ 33%]\n",
        "[gw3] [ 66%] FAILED tests/gpu/test_a_cuda.py::test_two[c d] \n",
        "tests/gpu/test_b_cuda.py::test_three SKIPPED (no such thing)     [100%]\n",
        "FAILED tests/gpu/test_a_cuda.py::test_two[c d] - AssertionError\n",
    ]
    told = sanitizer.outcomes(iter(lines))
    assert next(told) == {
        "file": "tests/gpu/test_a_cuda.py", "result": "failed", "why": "test_two[c d]",
    }  # fmt: skip
    assert list(told) == [
        {"file": "tests/gpu/test_a_cuda.py", "passed": 1, "failed": 1, "result": "failed",
         "why": "1 tests failed"},
        {"file": "tests/gpu/test_b_cuda.py", "skipped": 1, "result": "passed", "why": ""},
    ]  # fmt: skip


def test_without_a_kernel_of_its_own_a_case_is_about_its_op() -> None:
    case = Case("gate", "a case", Work(1), (), print)
    assert equal.kernel_of(case) == "gate"
    assert equal.kernel_of(Case("gate", "a case", Work(1), (), print, kernel="-")) == ""
    light = Case("gate", "a case", Work(1), (), print, mode="gate with light")
    assert equal.kernel_of(light) in MODES


@interpreted
def test_a_mode_is_rehearsed_though_its_op_is_by_another_case() -> None:
    rehearsal = device.here(rehearsed=True)
    modes = [case.mode for case in equal.chosen(rehearsal, ["gate"])]
    assert sorted(modes) == sorted(["", "", *MODES])  # with the grid before it


# ---- the page


def fact(**given: Any) -> dict[str, Any]:
    return {"stage": "a", "device": "NVIDIA H200", "date": "2026-12-01", "commit": "1234567",
            "item": "gather: all", "result": "passed", "kernel": "gather", **given}  # fmt: skip


def row_of(kernel: str, *facts: dict[str, Any]) -> list[str]:
    (line,) = (line for line in page.table(list(facts)).splitlines() if f"| {kernel} |" in line)
    return [cell.strip() for cell in line.strip("|").split("|")][2:]


def test_a_kernel_without_facts_has_not_run() -> None:
    assert row_of("gather") == [page.NEVER, "-", "-", "-"]
    assert row_of("gather", fact(device="rehearsal", ran=True)) == [page.NEVER, "-", "-", "-"]
    lines = page.table([]).splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == [*KERNELS, *MODES, *PATHS]


def test_of_a_case_the_newest_fact_counts() -> None:
    wrong = fact(case="all", equal=False, result="failed")
    ran, same, measured, when = row_of("gather", fact(case="all", ran=True), wrong)
    assert (ran, same, measured) == ("yes, but: gather: all", "NO: all", "not yet")
    later = fact(case="all", equal=True, date="2026-12-02", commit="7654321")
    timed = later | {"item": "gather 1", "case": "32 x 1080p", "us": 40.1, "times floor": 2.45}
    ran, same, measured, when = row_of("gather", wrong, later, timed)
    assert (ran, same) == ("yes", "yes, in 2")
    assert measured == "40.1 us, 2.45 x its floor (32 x 1080p)"
    assert when == "NVIDIA H200, 2026-12-02, 7654321"


def test_paths_have_figures_of_their_own() -> None:
    rate = fact(kernel="NVDEC", item="rates, 8 streams", way="patchgate", of_decode=0.97, ran=True)
    assert row_of("NVDEC", rate)[2] == "0.97 of decoding alone (rates, 8 streams)"
    tower = fact(kernel="towers", item="residual, 10% kept", ran=True,
                 **{"gated ms": 9.1, "times faster than dense": 5.2})  # fmt: skip
    assert row_of("towers", tower)[2] == "5.2 x faster than dense (residual, 10% kept)"


def test_facts_are_kept_once_under_the_gpus_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(page, "PAGE", tmp_path / "GPU.md")
    page.PAGE.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    out = tmp_path / "out"
    out.mkdir()
    facts = Facts(out, "a", "NVIDIA H200", "1234567")
    line = facts.add("gather: all", {"kernel": "gather", "case": "all", "equal": True})
    assert page.folder_of(line) == f"h200-{line['date']}"
    for _ in range(2):
        page.keep(out)
    (kept,) = (tmp_path / "results").rglob("*.jsonl")
    assert [json.loads(each) for each in kept.read_text().splitlines()] == [line]
    text = page.PAGE.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| gather | `kernels/`, 1 launch | yes | yes, in 1 |" in text
    Facts(out, "b", "rehearsal", "1234567").add("gather 1", {"ran": True})
    with pytest.raises(ValueError, match="expected facts of a GPU"):
        page.keep(out)


def test_the_page_is_what_the_facts_make_of_it() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    assert text == page.written(text, page.kept_facts())


def test_a_rehearsals_film_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the small films stands for the large one there, which takes its time to encode."""
    monkeypatch.setattr(films, "LARGE", "b.mp4")
    with patchgate.open_video(films.film(films.LARGE, tmp_path)) as video:
        batch = next(iter(video))
    assert batch.planes[0].shape[1:] == (240, 320)
