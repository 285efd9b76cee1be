"""Checks at the public edge: each error says what was expected and what came.

Every check returns the value as Python's own kind: ``4``, ``numpy.int64(4)``, ``4.0`` and
``Fraction(8, 2)`` are the same threshold from there on, also in a file. Use the value that the
check returns, not the one that came in (``tests/test_numbers.py`` looks for dropped values).

ops.py        the arguments of ops; fake kernels check them, too
token_ops.py  the arguments of the ops on tokens
text.py       names of files and classes in messages
"""

import math
import re
import sys
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy as np

from patchgate._check.text import a_or_an

__all__ = [
    "LANGUAGE_MODELS",
    "TRANSFORMERS",
    "check_transformers",
    "checked_choice",
    "checked_count",
    "checked_number",
    "checked_size",
    "checked_switch",
    "release",
    "settle",
]

# The oldest versions of transformers: for towers (as in pyproject.toml), and for language models,
# which must take a tower's output.
TRANSFORMERS = "5.17"
LANGUAGE_MODELS = "5.18"


def checked_number(name: str, value: Any, low: float, high: float, unit: str) -> float:
    """Checks a number in ``[low, high]``; returns it as a float."""
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
    """Checks a whole number in ``[low, high]``; returns it as an int."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}: expected a whole number, got {value!r}")
    count = int(value)
    if count < low or (high is not None and count > high):
        reach = f"at least {low}" if high is None else f"{low}..{high}"
        raise ValueError(f"{name}: expected {reach}, got {value!r}")
    return count


def checked_size(name: str, size: Any, multiple: int) -> tuple[int, int]:
    """Checks ``(H, W)`` in pixels, or one number for both, as whole cells of ``multiple``."""
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
    """Checks a choice; returns the equal one of ``choices``: a numpy string becomes a str."""
    choices = tuple(choices)
    for choice in choices:
        if isinstance(value, type(choice)) and value == choice:
            return choice
    raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")


def checked_switch(name: str, value: Any) -> bool:
    """Checks True or False, also those of numpy; returns a bool."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def settle(settings: Any, **values: Any) -> None:
    """Writes checked values into a frozen dataclass that is being made."""
    for name, value in values.items():
        object.__setattr__(settings, name, value)


def check_transformers(name: str, model: Any, oldest: str) -> None:
    """Checks that a model's version of transformers builds it as patchgate expects.

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
    """Returns ``[5, 17]`` for ``"5.17.0.dev0"``."""
    return [int(number) for number in re.findall(r"\d+", version)[:2]]
