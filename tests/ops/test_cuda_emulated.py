"""The emulation that runs the CUDA kernels' sources on the CPU finds what it is there to find."""

import numpy as np
import pytest

emulated = pytest.importorskip("patchgate._tested", reason="built only beside the sources")


@pytest.mark.parametrize("blocks", [1, 5])
def test_a_missing_barrier_of_a_block_shows(blocks: int) -> None:
    numbers = np.arange(64 * blocks, dtype=np.int32).reshape(blocks, 64)
    right, wrong = numbers.copy(), numbers.copy()
    emulated.reverse(right, with_barrier=True, seed=1)
    emulated.reverse(wrong, with_barrier=False, seed=1)
    assert (right == numbers[:, ::-1]).all()
    assert (wrong != numbers[:, ::-1]).any()


def test_a_missing_barrier_of_the_grid_shows() -> None:
    numbers = np.arange(64 * 4, dtype=np.int32)
    right, wrong = numbers.copy(), numbers.copy()
    emulated.shift(right, with_barrier=True, seed=1)
    emulated.shift(wrong, with_barrier=False, seed=1)
    assert (right == np.roll(numbers, -1)).all()
    assert (wrong != np.roll(numbers, -1)).any()


def test_threads_that_wait_for_ever_are_an_error() -> None:
    numbers = np.zeros(64, dtype=np.int32)
    emulated.stuck(numbers, with_barrier=False, seed=1)
    assert numbers.all()
    with pytest.raises(RuntimeError, match="wait at a barrier"):
        emulated.stuck(numbers, with_barrier=True, seed=1)


def test_the_order_of_threads_is_drawn_by_the_seed() -> None:
    results = []
    for seed in (1, 1, 2):
        numbers = np.arange(64, dtype=np.int32)
        emulated.reverse(numbers, with_barrier=False, seed=seed)
        results.append(numbers)
    assert (results[0] == results[1]).all()
    assert (results[0] != results[2]).any()
