"""What all benchmarks share: benchmarks/harness.py and benchmarks/table.py."""

from collections.abc import Callable
from functools import partial

import harness
import pytest
import table
import torch

ROWS = [{"what": "a", "value": 1}, {"what": "b", "value": 2, "more": 3}]


def squares(number: int) -> list[int]:
    if number < 0:
        raise ValueError("a negative number")
    return [number**2, torch.get_num_threads()]


def filled(megabytes: int) -> Callable[[], torch.Tensor]:
    return partial(torch.ones, megabytes << 20, dtype=torch.uint8)


def test_rows_of_all_tasks_come_in_their_order_from_processes_of_one_thread() -> None:
    assert list(harness.spread(squares, [3, 1, 2], 2, "squares")) == [9, 1, 1, 1, 4, 1]
    with pytest.raises(ValueError, match="a negative number"):
        list(harness.spread(squares, [1, -1], 1, "squares"))


def test_the_peak_is_what_a_call_takes_above_what_was_there() -> None:
    assert 200 << 20 <= harness.peak(filled, 200) < 260 << 20


def test_rows_are_grouped_in_the_order_of_their_first() -> None:
    found = harness.grouped([5, 2, 3, 8], lambda n: n % 2 == 0)
    assert list(found.items()) == [(False, [5, 3]), (True, [2, 8])]


def test_a_table_has_the_columns_of_its_first_row(capsys: pytest.CaptureFixture[str]) -> None:
    table.show(ROWS, "some rows")
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("some rows", "what", "value", "b", "2"))
    assert "more" not in shown
    assert table.markdown(ROWS, hide=("value",)) == ["| what |", "| --- |", "| a |", "| b |"]
    assert table.markdown([]) == ["(nothing measured)"]
