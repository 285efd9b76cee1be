"""A stage whose process cannot begin."""

from typing import Any


def device(rehearsed: bool) -> Any:
    raise ImportError("patchgate's native library is missing")


def items(device: Any) -> list[Any]:
    raise AssertionError("it has no device")
