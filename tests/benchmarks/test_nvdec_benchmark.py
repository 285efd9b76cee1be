"""The GPU benchmark's parts, as far as a CPU can run them: same frames, same rows, right counts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fake_nvdec import FakeBackend
from gpu import films, nvdec_questions, traces
from gpu import nvdec as benchmark
from nvdec_cases import EXAMPLES

import patchgate


def test_every_way_sees_the_same_frames_and_rows(nvdec: FakeBackend) -> None:
    path = films.film("b.mp4")
    assert benchmark.decode(path) == benchmark.ours(path) == benchmark.together(path) == 24
    video = patchgate.open_video(path, device="cuda")
    borrowed = rows_of(video)
    assert borrowed.shape[1:] == (3 * 14 * 14,)
    assert borrowed.dtype == torch.bfloat16
    assert torch.equal(borrowed, rows_of(Batches(video)))
    assert benchmark.at_once(benchmark.decode, path, 3) == 72


def test_rivals_may_fail_and_own_ways_must_agree(
    nvdec: FakeBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(path: Path) -> int:
        raise LookupError("no such decoder")

    ways = {"decode": lambda path: 5, "patchgate": lambda path: 5, "rgb": fails}
    monkeypatch.setattr(benchmark, "WAYS", ways)
    rows = benchmark.measured(EXAMPLES[0], 2, rounds=1)
    assert [(row["way"], row["frames"]) for row in rows] == [("decode", 10), ("patchgate", 10)]
    assert "rgb is left out: LookupError: no such decoder" in capsys.readouterr().out
    monkeypatch.setattr(benchmark, "WAYS", {**ways, "patchgate": lambda path: 4})
    with pytest.raises(RuntimeError, match="same frames"):
        benchmark.measured(EXAMPLES[0], 2, rounds=1)


class Batches:
    """Copies of a video's frames: what OnTheGpu is where there is no GPU."""

    def __init__(self, video: patchgate.Video) -> None:
        self.video, self.threads = video, 1

    def __iter__(self) -> Any:
        return iter(self.video)


def rows_of(video: Any) -> torch.Tensor:
    gate = patchgate.Gate(size=benchmark.SIDE)
    chunks = benchmark.token_chunks(video, gate, features=benchmark.Rows())
    return torch.cat([chunk.features for chunk in chunks])


def test_a_stream_that_fails_is_no_measurement(nvdec: FakeBackend) -> None:
    def fails(path: Path) -> int:
        raise LookupError("no such film")

    with pytest.raises(LookupError, match="no such film"):
        benchmark.at_once(fails, EXAMPLES[0], 2)


def test_the_rival_preprocesses_as_the_processor_does() -> None:
    """Plain torch against gather, from the same RGB: a step of u8, and bfloat16's own."""
    rgb = torch.randint(80, 176, (3, 240, 320), dtype=torch.uint8)  # no overshoot to clamp
    frame = benchmark.preprocessed(rgb)
    assert frame.shape == (1, 3, benchmark.SIDE, benchmark.SIDE)
    cells = (benchmark.SIDE // 14) ** 2
    rows = benchmark.gather(rgb[None], torch.arange(cells), benchmark.SPEC)
    theirs = torch.nn.functional.unfold(frame.float(), 14, stride=14)[0].T
    assert (rows - theirs).abs().max() < 4 / 127.5


def test_threads_are_counted(nvdec: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "LARGE", "b.mp4")
    assert "% of its rate alone" in nvdec_questions.other_threads()


@pytest.mark.parametrize("question", ["are buffers used again", "pitch"])
def test_questions_are_answered(
    nvdec: FakeBackend, monkeypatch: pytest.MonkeyPatch, question: str
) -> None:
    monkeypatch.setattr(nvdec_questions, "gpu_backend", lambda: nvdec)
    answer = nvdec_questions.QUESTIONS[question]()
    assert "DIFFER" not in answer
    assert any(told in answer for told in ("2 buffers", "strides (320, 1)", "Cr equal"))


def test_what_is_not_as_pyav_has_it_is_told(
    nvdec: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the hashes of its planes, which were written beside the film."""
    path = films.film("b.mp4")
    told = films.told_by_pyav(path)
    assert len(told) == 24
    assert [len(each) for each in told] == [len(films.TOLD)] * 24
    told[3][films.TOLD.index("Cb")] = "another"
    monkeypatch.setattr(films, "told_by_pyav", lambda path: told[:-1])
    answer = nvdec_questions.same_as_pyav("b.mp4")
    assert answer.startswith("24 of 23 frames, their numbers DIFFER")
    assert "Cb DIFFER in frames [3]" in answer
    assert "Y equal" in answer


def test_a_trace_is_summed_up() -> None:
    events = [
        {"cat": "gpu_memcpy", "name": "Memcpy DtoH (Device -> Pinned)", "args": {"bytes": 40}},
        {"cat": "gpu_memcpy", "name": "Memcpy HtoD (Pageable -> Device)", "args": {"bytes": 9}},
        {"cat": "cuda_runtime", "name": "cudaStreamSynchronize"},
        {"cat": "cuda_runtime", "name": "cudaLaunchKernel"},
        {"cat": "kernel", "name": "frame_grid_kernel"},
        {"name": "a mark without a category"},
    ]
    assert traces.summary(events) == traces.Trace([40], 1, 1)
