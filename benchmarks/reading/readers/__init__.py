"""Readers: what stands in a box of a picture.

A reader's ``read(pictures, looks)`` gives one string per look, and "" where it sees nothing.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from reading.looks import Look


class Pictures(Protocol):
    """Frames by number: a clip's footage, or what a method's tokens say of it."""

    def rgb(self, frame: int) -> Tensor:
        """uint8 ``[3, H, W]``."""
        ...


class Reader(Protocol):
    """Reads looks in batches."""

    def read(self, pictures: Pictures, looks: Sequence[Look]) -> list[str]:
        """What stands in each."""
        ...
