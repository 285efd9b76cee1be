"""The arithmetic that CUDA will run, and the CPU's vectorised forms of it, against numpy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

_tested = pytest.importorskip("patchgate._tested", reason="built only beside the sources")


ALWAYS = 2**31 - 1
PATHS = ["defined", *_tested.gate_paths()]


@st.composite
def blocks(draw):
    """Two pictures [f, H, W] that may resemble each other shifted, and a cell inside them."""
    cell = draw(st.integers(1, 40))
    height, width = (draw(st.integers(cell, cell + 20)) for _ in range(2))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([2, 8, 256]))  # few levels: many ties
    shape = (draw(st.integers(1, 2)), height, width)
    then = random.integers(0, levels, shape, np.uint8)
    shift = draw(st.integers(-3, 3)), draw(st.integers(-3, 3))
    now = (
        np.roll(then, shift, (1, 2))
        if draw(st.booleans())
        else random.integers(0, levels, shape, np.uint8)
    )
    y, x = draw(st.integers(0, height - cell)), draw(st.integers(0, width - cell))
    return now, then, y, x, cell


def numpy_search(now, then, y, x, cell, radius):
    """Every candidate in one list; the least by objective, then by the order of ties."""
    best = (ALWAYS, 0, 0, 0)
    block = now[:, y : y + cell, x : x + cell].astype(int)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            top, left = y + dy, x + dx
            outside = min(top, left) < 0 or top + cell > now.shape[1] or left + cell > now.shape[2]
            if (dy, dx) == (0, 0) or outside:
                continue
            sad = np.abs(block - then[:, top : top + cell, left : left + cell]).sum()
            size = abs(dy) + abs(dx)
            best = min(best, (int(sad) + (cell * cell >> 4) * size, size, dy, dx))
    return best[0], *best[2:]


@given(blocks(), st.integers(0, 6))
def test_every_path_searches_alike(case, radius):
    expected = numpy_search(*case, radius)
    for path in PATHS:
        assert _tested.gate_search(*case, radius, path) == expected, path


@given(blocks(), st.data())
def test_every_path_finds_the_same_difference(case, data):
    now, then, y, x, cell = case
    sub_block = data.draw(st.sampled_from([k for k in range(1, cell + 1) if cell % k == 0]))
    dy = data.draw(st.integers(-y, now.shape[1] - cell - y))
    dx = data.draw(st.integers(-x, now.shape[2] - cell - x))
    a = now[0, y : y + cell, x : x + cell].astype(int)
    b = then[0, y + dy : y + dy + cell, x + dx : x + dx + cell].astype(int)
    k = cell // sub_block
    sads = np.abs(a - b).reshape(k, sub_block, k, sub_block).sum((1, 3))
    for path in PATHS:
        found = _tested.gate_difference(now, then, y, x, dy, dx, cell, sub_block, path)
        assert found == (sads.max(), sads.sum()), path


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("cell", "sub_block"), [(14, 7), (16, 8), (28, 7), (32, 8), (12, 6)])
def test_the_usual_cells_reach_their_largest_values(path, cell, sub_block):
    black = np.zeros((1, cell, cell), np.uint8)
    white = black + 255
    found = _tested.gate_difference(black, white, 0, 0, 0, 0, cell, sub_block, path)
    assert found == (255 * sub_block**2, 255 * cell**2)


@given(blocks())
def test_texture_sums_neighbour_differences_inside_the_cell(case):
    now, _, y, x, cell = case
    block = now[0, y : y + cell, x : x + cell].astype(int)
    expected = sum(int(np.abs(np.diff(block, axis=axis)).sum()) for axis in (0, 1))
    assert _tested.gate_texture(now, y, x, cell) == expected


@given(st.integers(1, 16), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_plurality_is_the_most_frequent_and_then_the_smallest(side, ids, seed):
    picked = np.random.default_rng(seed).integers(0, ids, (side, side), np.int32)
    values, counts = np.unique(picked, return_counts=True)
    assert _tested.gate_plurality(picked) == values[counts.argmax()]


@pytest.mark.parametrize(
    ("limit", "factor", "expected"),
    [
        (196, 1.0, 196),
        (196, 0.5, 98),
        (195, 0.5, 97),
        (196, 0.0, 0),
        (0, np.inf, ALWAYS),
        (0, 1e308, 0),
        (196, 1e12, ALWAYS),
        (ALWAYS, 0.0, ALWAYS),
    ],
)
def test_a_limit_is_scaled_by_rounding_down(limit, factor, expected):
    assert _tested.gate_scaled_limit(limit, factor) == expected


def test_the_adaptive_limit_stays_between_once_and_twice():
    median = np.arange(500, dtype=np.int32)
    expected = np.clip(3 * median // 2, 196, 392)
    assert (_tested.gate_adaptive_limit(median, np.int32(196)) == expected).all()
