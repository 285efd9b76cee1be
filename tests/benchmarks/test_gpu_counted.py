"""Counted floors of the CUDA ops, against sums done by hand."""

import pytest
from gpu import counted


def test_the_grid_reads_every_sample_once_and_writes_three_planes() -> None:
    count = counted.frame_grid(32, (1080, 1920), (540, 960), (378, 378))
    assert count.bytes == 32 * (1080 * 1920 * 3 // 2 + 3 * 378 * 378)
    luma = 1080 * 378 * (1920 / 378) + 378 * 378 * 2 * (1080 / 378)
    chroma = 540 * 378 * (960 / 378) + 378 * 378 * 2 * (540 / 378)
    assert count.integer == pytest.approx(32 * (luma + 2 * chroma), rel=1e-6)
    assert counted.frame_grid(1, (8, 8), (4, 4), (8, 8), 2).bytes == 2 * 96 + 3 * 64


def test_a_filter_that_does_not_shrink_has_two_taps() -> None:
    count = counted.frame_grid(1, (4, 4), (4, 4), (8, 8))
    assert count.integer == 3 * (4 * 8 * 2 // 2 + 8 * 8 * 2)


def test_a_still_frame_costs_its_pixels_and_its_results() -> None:
    pixels = 378 * 378
    count = counted.gate(10, 27 * 27, 14, changed=0.0)
    assert count.bytes == 10 * (3 * pixels + 3 * pixels + 15 * 729)
    assert count.integer == 10 * 729 * 3 * 14 * 4  # 14 rows of 4 words


def test_cells_that_are_apart_read_their_reference_once() -> None:
    pixels = 378 * 378
    count = counted.gate(10, 27 * 27, 14, changed=0.5, apart=True)
    assert count.bytes == 10 * (3 * pixels + 15 * 729) + 3 * pixels + pixels // 2 * (3 + 4)


def test_a_search_compares_every_candidate() -> None:
    still = counted.gate(1, 576, 16, changed=0.0)
    every = counted.gate(1, 576, 16, changed=0.0, searched=1.0, radius=8)
    assert every.bytes == still.bytes
    assert every.integer - still.integer == 576 * (288 + 3) * 64


def test_fractions_of_a_pixel_ask_for_eight_more_candidates_a_step_and_for_samples() -> None:
    whole, halves, quarters = (
        counted.gate(1, 576, 16, 0.0, searched=1.0, radius=8, precision=n).integer
        for n in (1, 2, 4)
    )
    assert halves - whole == 576 * (8 * 64 + 2 * (17 * 22 + 33 * 17))
    assert quarters - halves == 576 * (8 * 64 + 2 * 2 * 256)


def test_a_lit_cell_is_weighed_tested_again_and_written() -> None:
    plain, kept, lit = (counted.gate(10, 729, 14, 0.0, lit=lit) for lit in (None, 0.0, 1.0))
    assert kept == plain._replace(bytes=plain.bytes + 10 * 729)  # whether a cell is lit
    assert lit.bytes - kept.bytes == 10 * 729 * 3 * (14**2 + 2 * 16)
    assert lit.integer - kept.integer == 10 * 729 * 3 * (14**2 + 14 * 4 + 4 * 5 * 16)


def test_compaction_reads_kinds_and_writes_indices() -> None:
    assert counted.compact(32, 729, 5000).bytes == 32 * 729 + 5000 * 8 + 33 * 4 + 8
