"""Gather: op, shared arithmetic and reference agree bit for bit; bad input is refused."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from gather_cases import DTYPES, arguments, cases, make_batch, make_spec
from hypothesis import given, settings
from hypothesis import strategies as st

from patchgate import reference
from patchgate.gather import gather

_tested = pytest.importorskip("patchgate._tested", reason="built only beside the sources")

op = torch.ops.patchgate.gather
PATHS = _tested.frame_grid_paths()


@given(cases())
@settings(max_examples=300)
def test_op_equals_reference(case: tuple) -> None:
    assert torch.equal(op(*case), reference.gather(*case))


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize(("size", "patch"), [((224, 224), 16), ((384, 384), 14)])
def test_op_equals_reference_on_real_sizes(
    size: tuple[int, int], patch: int, bit_depth: int
) -> None:
    batch = make_batch((270, 481), bit_depth=bit_depth, margin=3, matrix="bt709")
    case = arguments(batch, make_spec(size, patch), "half")
    assert torch.equal(op(*case), reference.gather(*case))


@given(cases(most=20), st.sampled_from(PATHS))
@settings(max_examples=100)
def test_shared_arithmetic_equals_reference(case: tuple, path: str) -> None:
    planes, (index, taps_x, taps_y, matrix, _, *rest) = case[:3], case[3:]
    levels = torch.arange(256.0).expand(3, 256)
    expected = reference.gather(*case[:7], levels, *case[8:])
    out = _tested.gather_cells(
        *(plane.contiguous().numpy() for plane in planes), index.numpy(), taps_x.numpy(),
        taps_y.numpy(), [] if matrix is None else matrix.tolist(), *rest, path,
    )  # fmt: skip
    assert torch.equal(torch.from_numpy(out).float(), expected)


@pytest.mark.parametrize("source", ["8 bit", "10 bit", "rgb"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck(source: str, dtype: torch.dtype) -> None:
    batch: Any = make_batch((33, 50), frames=2, bit_depth=10 if source == "10 bit" else 8)
    if source == "rgb":
        batch = torch.zeros(2, 3, 33, 50, dtype=torch.uint8)
    spec = make_spec((28, 56), 7, merge=2, temporal_patch=2)
    torch.library.opcheck(op.default, arguments(batch, spec, "half", dtype, seed=1))


def test_compiles_whole() -> None:
    case = arguments(make_batch((33, 50), frames=2), make_spec((28, 56), 14))
    compiled = torch.compile(lambda *inputs: op(*inputs) + 1, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*case), op(*case) + 1)


def test_threads_do_not_matter() -> None:
    case = arguments(make_batch((300, 211), frames=3), make_spec((224, 224), 16), "half")
    threads = torch.get_num_threads()
    results = []
    for n in (1, 2, 5):
        torch.set_num_threads(n)
        results.append(op(*case))
    torch.set_num_threads(threads)
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_bad_input() -> None:
    batch, spec, index = make_batch((8, 8), frames=2), make_spec((4, 4), 2), torch.arange(3)
    y, cb, cr = batch.planes
    rgb = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    wrong: list[tuple[Any, Any, type[Exception], str]] = [
        ((y, cb), index, ValueError, "three planes"),
        ((y.float(), cb, cr), index, TypeError, "Y of 8 bit must be"),
        ((y, cb[:, 1:], cr[:, 1:]), index, ValueError, r"Cb and Cr of \[3, 4\] do not belong to Y"),
        ((y.mT, cb, cr), index, ValueError, "rows must be contiguous"),
        (batch.planes, index.int(), TypeError, "index: expected an int64 tensor, got torch.int32"),
        (batch.planes, [0], TypeError, "got list"),
        (batch.planes, index[None], ValueError, r"index: expected \[capacity\], got \[1, 3\]"),
        (batch.planes, index.to("meta"), ValueError, "index is on meta, but the frames are on cpu"),
        (rgb.float(), index, TypeError, "RGB frames must be uint8"),
        (rgb[0], index, ValueError, r"RGB frames must be \[T, 3, H, W\]"),
        (rgb.mT, index, ValueError, "rows must be contiguous"),
    ]
    for source, cells, error, message in wrong:
        if isinstance(source, tuple):
            source = SimpleNamespace(planes=source, colour=batch.colour)
        with pytest.raises(error, match=message):
            gather(source, cells, spec)
    with pytest.raises(TypeError, match="dtype: expected one of"):
        gather(batch, index, spec, torch.float64)
    with pytest.raises(RuntimeError, match="index 8 is not one of 8 cells"):
        gather(batch, torch.tensor([8]), spec)


def test_op_refuses_what_would_read_elsewhere() -> None:
    case = list(arguments(make_batch((8, 8)), make_spec((4, 4), 2)))
    for position, column, value in ((4, 0, 100), (4, 0, -2), (5, 1, 1 << 23)):
        broken = list(case)
        broken[position] = case[position].clone()
        broken[position][0, column] = value
        with pytest.raises(RuntimeError, match="taps outside the plane or too large"):
            op(*broken)
    changes: list[tuple[int, Any, str]] = [
        (0, case[0].mT, "last stride 1"),
        (1, case[1][:, :3], "differ in size"),
        (6, case[6][:5], "expected 6 numbers"),
        (6, case[6] << 10, "factors too large"),
        (6, None, "do not belong"),  # RGB planes have one size
        (7, case[7][:2], r"levels: expected \[3, 256\]"),
        (7, case[7].double(), "levels: expected float32"),
        (8, 10, "uint8 planes of 8 bit"),
        (9, 3, "whole cells"),
        (9, 0, r"must be 1\.\.16384, got 0"),
        (10, 1 << 62, r"must be 1\.\.16384"),
        (11, 1 << 62, r"must be 1\.\.16384"),
    ]
    for position, value, message in changes:
        broken = list(case)
        broken[position] = value
        with pytest.raises(RuntimeError, match=message):
            op(*broken)
