"""Checks at the public edge: each error says what was expected and what came.

Every check returns the value as Python's own kind: ``4``, ``numpy.int64(4)``, ``4.0`` and
``Fraction(8, 2)`` are the same threshold from there on, also in a file. Use the value that the
check returns, not the one that came in (``tests/test_numbers.py`` looks for dropped values).

ops.py        the arguments of ops; fake kernels check them, too
token_ops.py  the same for the ops on tokens: ``_check.ops`` says for whom
text.py       names of files and classes, as messages show them
"""

import math
import re
import sys
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np

from patchgate._check.text import a_or_an

# The oldest of which towers are known, as in pyproject.toml, and that whose language models take
# what a tower put out.
TRANSFORMERS = "5.17"
LANGUAGE_MODELS = "5.18"


def checked_number(name: str, value: Any, low: float, high: float, unit: str) -> float:
    """A number in ``[low, high]``, as a float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # a whole number or a fraction beyond all floats
        number = math.inf if abs(value) == value else -math.inf
    if math.isnan(number) or not low <= number <= high:
        raise ValueError(f"{name}: expected {low:g}..{high:g} {unit}, got {value!r}")
    return number


def checked_count(name: str, value: Any, low: int, high: int | None = None) -> int:
    """A whole number in ``[low, high]``, as an int."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}: expected a whole number, got {value!r}")
    count = int(value)
    if count < low or (high is not None and count > high):
        reach = f"at least {low}" if high is None else f"{low}..{high}"
        raise ValueError(f"{name}: expected {reach}, got {value!r}")
    return count


def checked_size(name: str, size: Any, multiple: int) -> tuple[int, int]:
    """``(H, W)`` in pixels, or one number for both, in whole cells of ``multiple`` pixels."""
    if isinstance(size, Integral):
        size = (size, size)
    try:
        pair = tuple(size)
    except TypeError:
        raise TypeError(f"{name}: expected (H, W) or one number, got {size!r}") from None
    if len(pair) != 2:
        raise ValueError(f"{name}: expected (H, W), got {size!r}")
    height, width = (checked_count(name, side, 1) for side in pair)
    if height % multiple or width % multiple:
        raise ValueError(
            f"{name}: {height} x {width} pixels do not divide into cells of {multiple} "
            f"(patch * merge); the nearest size that does is "
            f"{max(1, round(height / multiple)) * multiple} x "
            f"{max(1, round(width / multiple)) * multiple}"
        )
    return height, width


def checked_choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """That one of ``choices`` which ``value`` is: a word of numpy's is the word."""
    choices = tuple(choices)
    for choice in choices:
        if isinstance(value, type(choice)) and value == choice:
            return choice
    raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")


def checked_switch(name: str, value: Any) -> bool:
    """True or False; numpy's are taken too."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def settle(settings: Any, **values: Any) -> None:
    """Writes what checks gave into a frozen dataclass that is being made."""
    for name, value in values.items():
        object.__setattr__(settings, name, value)


def check_transformers(name: str, model: Any, oldest: str) -> None:
    """That a model does not come from a transformers in which it is built otherwise.

    Raises:
        ImportError: it comes from one before ``oldest``.
    """
    modules = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    if "transformers" not in modules:
        return
    version = sys.modules["transformers"].__version__
    if release(version) < release(oldest):
        raise ImportError(
            f"{name}: expected {a_or_an(type(model).__name__)} of transformers {oldest} or later, "
            f"got one of {version}; pip install --upgrade 'transformers>={oldest}'"
        )


def release(version: str) -> list[int]:
    """``[5, 17]`` of ``"5.17.0.dev0"``."""
    return [int(number) for number in re.findall(r"\d+", version)[:2]]
