"""A gate's state may come from anywhere: whatever it says, nothing is read or written elsewhere."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from emulated_gate import assert_equals_cpu, emulated
from gate_cases import APART, CONFIG, arguments, call, copied, rules_for, state_for
from gate_videos import any_video, pan, still
from torch import Tensor

from patchgate import reference

_tested = pytest.importorskip("patchgate._tested", reason="built only beside the sources")

op = torch.ops.patchgate.gate
PLANES, PICTURE, IDS, SOURCE, CLOCK, BIRTHS, QUARTILES, LIGHT, MAP = range(9)
NUMBERS = (
    "cell", "sub_block", "limit", "texture", "search_radius", "on_motion", "cut", "hysteresis",
    "adaptive", "motion_precision",
)  # fmt: skip
RULES = {name: position for position, name in enumerate(NUMBERS, 9)}


def on_cuda_emulated(*args: Any) -> Any:
    return emulated(args, 2, 0)


def on_meta(*args: Any) -> Any:
    return op(*(arg.to("meta") if isinstance(arg, Tensor) else arg for arg in args))


RUNS = [op, on_cuda_emulated]
refusals = (RuntimeError, ValueError, TypeError)


def assert_refused(run: Callable[..., Any], args: tuple[Any, ...], message: str) -> None:
    before = copied(args[1:8])
    with pytest.raises(refusals, match=message):
        run(*args)
    assert all(map(torch.equal, args[1:8], before))


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("rules", [{}, APART])
@pytest.mark.parametrize("max_age", [None, 4])
@pytest.mark.parametrize(
    "clock", [[-1, 5], [-(2**63), 5], [-999_999, 0], [3, -1], [3, -(2**63)], [2**63 - 1, 5]]
)
def test_a_clock_that_no_gate_has_shown_is_refused(
    run: Any, rules: dict[str, Any], max_age: int | None, clock: list[int]
) -> None:
    args = arguments(rules | {"max_age": max_age})
    op(*args)
    args[CLOCK][1] = torch.tensor(clock)
    assert_refused(run, args, "clock .*a gate has seen")


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("tokens", [2**31 - 20, 2**31, 2**40, 2**63 - 1])
def test_ids_that_would_not_fit_32_bits_are_refused(run: Any, tokens: int) -> None:
    args = arguments()
    args[CLOCK][1] = torch.tensor([1000, tokens])
    assert_refused(run, args, "reset the stream first")


@pytest.mark.parametrize("run", [*RUNS, on_meta])
@pytest.mark.parametrize("axis", [2, 3, 4, 5])
def test_sizes_of_nothing_are_refused(run: Any, axis: int) -> None:
    args = list(arguments())
    shape = list(args[PLANES].shape)
    shape[axis] = 0
    args[PLANES] = torch.zeros(shape, dtype=torch.uint8)
    args[1:8] = state_for(args[PLANES], 8, 4)
    args[MAP] = None
    assert_refused(run, tuple(args), "must have .*pixels")


@pytest.mark.parametrize("run", [*RUNS, on_meta])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("cell", 0, "cell 0"), ("cell", 2**40, "cell"), ("sub_block", 0, "sub_block 0"),
        ("sub_block", -4, "sub_block -4"), ("limit", 2**40, r"limit 1099511627776 must be 0\.\."),
        ("limit", -1, "limit -1"), ("limit", 2**30, "limit"), ("texture", 2**31, "texture"),
        ("texture", -1, "texture"), ("search_radius", -1, "search_radius -1"),
        ("search_radius", 128, r"search_radius 128 must be 0\.\.127"), ("cut", -2, "cut -2"),
        ("on_motion", 3, "on_motion"), ("on_motion", -1, "on_motion"),
        ("motion_precision", 3, "precision"),
        ("motion_precision", 0, "precision"), ("hysteresis", float("nan"), "hysteresis"),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(run: Any, name: str, value: Any, message: str) -> None:
    args = list(arguments())
    args[RULES[name]] = value
    assert_refused(run, tuple(args), message)


@pytest.mark.parametrize("run", [*RUNS, on_meta])
@pytest.mark.parametrize("position", [PICTURE, IDS, SOURCE, QUARTILES, MAP])
def test_a_state_or_map_of_another_shape_is_refused(run: Any, position: int) -> None:
    """A tensor of as many numbers, but turned."""
    args = list(arguments())
    turned = args[position].movedim(-1, -2) if position != QUARTILES else args[position].T
    args[position] = turned.contiguous()
    with pytest.raises(refusals, match="gate: "):
        run(*args)


@pytest.mark.parametrize("run", [op, on_meta])
def test_more_than_32_bits_can_count_is_refused(run: Any) -> None:
    def sized(*shape: int) -> tuple[Any, ...]:
        planes = torch.zeros(1, dtype=torch.uint8).expand(shape)
        cells = shape[4] // 8 * (shape[5] // 8)
        return planes, *state_for(planes[:0], 8, 4), None, *rules_for(CONFIG, cells)

    for shape, message in (
        ((0, 1, 300, 1, 8, 8), "300 frames of 1 planes"),
        ((0, 1, 1, 3, 2**29, 8), "too large"),
        ((0, 1, 1, 3, 2**20, 2**20), "too large"),
        ((0, 2**31, 1, 3, 8, 8), "too many for one push"),
        ((0, 2**40, 1, 3, 8, 8), "too many for one push"),
    ):
        with pytest.raises(refusals, match=message):
            run(*sized(*shape))
    wide = list(sized(0, 1, 80, 3, 256, 256))
    wide[1:8], wide[RULES["cell"]] = state_for(wide[PLANES], 256, 4), 256
    with pytest.raises(refusals, match="80 frames of cells of 256"):
        run(*wide)


def test_no_streams_and_no_frames_end_at_once() -> None:
    planes = torch.zeros((0, 2**31 - 2, 1, 3, 8, 8), dtype=torch.uint8)
    begin = time.monotonic()
    kind, *_ = op(planes, *state_for(planes, 8, 4), None, *rules_for(CONFIG, 1))
    assert kind.shape == (0, 2**31 - 2, 1, 1)
    assert time.monotonic() - begin < 1


def test_state_that_shares_memory_is_refused() -> None:
    args = list(arguments())
    memory = torch.zeros(40, dtype=torch.int64)
    args[SOURCE], args[CLOCK] = memory[:24].view(2, 3, 4), memory[20:24].view(2, 2)
    with pytest.raises(RuntimeError, match="clock: shares memory with gate: source"):
        op(*args)
    args[CLOCK] = memory[24:28].view(2, 2)
    op(*args)


@pytest.mark.parametrize("rules", [{}, APART, {"on_motion": "reuse", "motion_precision": 4}])
@pytest.mark.parametrize("value", [-1, -(2**31), 2**31 - 1, -7])
def test_whatever_the_state_holds_every_back_end_says_the_same(
    rules: dict[str, Any], value: int
) -> None:
    videos = [any_video((24, 32), 3, seed)[:8] for seed in (3, 4)]
    args = call(rules, videos)
    op(*args)
    torch.manual_seed(value)
    for position in (IDS, SOURCE, BIRTHS, QUARTILES):
        some = torch.rand(args[position].shape) < 0.5
        args[position][some] = value
        args[position][torch.rand(args[position].shape) < 0.2] = value + (1 if value < 0 else -1)
    assert_equals_cpu(args, 2)
    assert_equals_cpu(args, 1, seed=1, expect=reference.gate)


def test_factors_that_are_no_numbers_are_zero() -> None:
    """In the op: the gate's own check refuses them before."""
    args = list(arguments({"hysteresis": None}))
    factors = torch.tensor([torch.nan, -1, -torch.inf, -1e300] * 3, dtype=torch.float64)
    zeros = copied(tuple(args))
    args[MAP], zeros = (
        factors.view(3, 4),
        (*zeros[:MAP], torch.zeros(3, 4).double(), *zeros[MAP + 1 :]),
    )
    expected = op(*zeros)
    for run in (op, on_cuda_emulated, reference.gate):
        got = run(*copied(tuple(args)))
        assert all(map(torch.equal, got, expected)), run


# ---- the vote for a moved cell's source


def many_ids(cell: int, distinct: int) -> tuple[Any, ...]:
    """A pan that the gate follows, over pixels of so many tokens, in any order."""
    video = pan((2 * cell, 3 * cell), 4, (0, 2), c=1)
    config = {"patch": cell, "sub_blocks": 1, "on_motion": "reuse", "search_radius": 2,
              "scene_cut": None, "noise": None, "hysteresis": None, "max_age": None}  # fmt: skip
    args = call(config, [video[:2]])
    op(*args)
    torch.manual_seed(cell)
    args[IDS].copy_(torch.randint(-distinct // 2, distinct, args[IDS].shape))
    return (video[2:][None, :, None].contiguous(), *args[1:])


@pytest.mark.parametrize("distinct", [7, 9, 15, 17, 40, 5000])
@pytest.mark.parametrize("cell", [3, 8, 14, 29])
def test_pixels_of_many_tokens_vote_as_defined(cell: int, distinct: int) -> None:
    args = many_ids(cell, distinct)
    kind = op(*copied(args))[0]
    assert (kind == 1).any()
    assert_equals_cpu(args, 1)
    assert_equals_cpu(args, 1, seed=1, expect=reference.gate)


@pytest.mark.parametrize("side", [1, 2, 9, 64])
@pytest.mark.parametrize("distinct", [1, 8, 9, 10**9])
def test_the_vote_is_the_most_frequent_and_then_the_smallest(side: int, distinct: int) -> None:
    random = np.random.default_rng(side)
    picked = random.integers(-distinct, distinct, (side, side)).astype(np.int32)
    values, counts = np.unique(picked, return_counts=True)
    assert _tested.gate_plurality(picked) == values[counts.argmax()]


def test_a_vote_of_the_largest_cell_takes_milliseconds() -> None:
    """It took time p^4 where more than 8 tokens met: a third of a second."""
    worst = np.random.default_rng(0).permutation(256 * 256).astype(np.int32).reshape(256, 256)
    least = min(_timed(worst) for _ in range(5))
    assert least < 0.05


def _timed(ids: np.ndarray) -> float:
    begin = time.process_time()
    assert _tested.gate_plurality(ids) == 0
    return time.process_time() - begin


def test_a_still_stream_reads_no_vote() -> None:
    args = call({"on_motion": "reuse"}, [still((24, 32), 3)])
    source = op(*args)[3]
    assert torch.equal(source[0, 0], source[0, 2])
