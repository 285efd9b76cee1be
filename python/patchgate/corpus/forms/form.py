"""What every form of saved tokens has."""

import os
from pathlib import Path
from typing import Any, Protocol

from patchgate.corpus.names import SUFFIX


class Form(Protocol):
    """A form in which the tokens of a video are saved.

    Attributes:
        suffix: that of a video's file.
        exact: whether the file is that of ``VideoTokens``, so that nothing is to be converted.
    """

    suffix: str
    exact: bool

    def check(self) -> None:
        """Raises an ``ImportError`` if a package is missing, with the line that installs it."""

    def write(self, tokens: Path, video: str, whole: Path) -> dict[str, Any]:
        """Converts a video's file of tokens.

        Args:
            tokens: a file of ``VideoTokens``.
            video: its id.
            whole: the file to write, which is moved to its place afterwards.

        Returns:
            What is to be noted in the journal, besides the usual columns.
        """

    def is_there(self, folder: Path, file: str) -> bool:
        """Whether a video's tokens are there."""


class OneFile:
    """The part of forms that have one file for each video."""

    def check(self) -> None:
        """Nothing is missing."""

    def is_there(self, folder: Path, file: str) -> bool:
        """Whether the file is there."""
        return os.path.lexists(folder / file)


class Safetensors(OneFile):
    """The tokens as they are: ``VideoTokens.load`` maps them, bit for bit."""

    suffix, exact = SUFFIX, True

    def write(self, tokens: Path, video: str, whole: Path) -> dict[str, Any]:
        """Is never called: the worker writes this form itself."""
        raise AssertionError(whole)
