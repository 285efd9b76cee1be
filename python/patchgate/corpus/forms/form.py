"""What every form of saved tokens has."""

import os
from pathlib import Path
from typing import Any, Protocol

from patchgate.beside import written_beside
from patchgate.corpus.names import SUFFIX


class Form(Protocol):
    """A form in which the tokens of videos are saved.

    Attributes:
        suffix: that of a video's file.
        exact: whether the file is that of ``VideoTokens``, which the worker writes itself.
    """

    suffix: str
    exact: bool

    def check(self) -> None:
        """Raises an ``ImportError`` if a package is missing, with the line that installs it."""

    def place(self, folder: Path, file: str) -> Path:
        """Returns the path beside which a worker's hidden folder is made."""

    def save(
        self, tokens: Path, video: str, folder: Path, file: str, replace: bool
    ) -> dict[str, Any]:
        """Converts a video's tokens.

        Args:
            tokens: a file of ``VideoTokens``.
            video: its id.
            folder: the corpus's folder.
            file: the file to write, below it.
            replace: whether an older one may be replaced.

        Returns:
            ``bytes``, how many were written; and what else is to be noted in the journal.

        Raises:
            OSError: the disk is full; there is a file that must not be replaced.
        """

    def is_there(self, folder: Path, file: str) -> bool:
        """Whether a video's tokens are there."""


class OneFile:
    """The part of forms that have one file for each video."""

    def check(self) -> None:
        """Nothing is missing."""

    def place(self, folder: Path, file: str) -> Path:
        """Returns the file's own path, in a folder that is there."""
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def is_there(self, folder: Path, file: str) -> bool:
        """Whether the file is there."""
        return os.path.lexists(folder / file)

    def save(
        self, tokens: Path, video: str, folder: Path, file: str, replace: bool
    ) -> dict[str, Any]:
        """Writes the file beside its place, and moves it there; see ``Form``."""
        target = folder / file
        if not replace and os.path.lexists(target):
            raise FileExistsError(f"{target}: there is such a file; it was left alone")
        with written_beside(target) as whole:
            self.write(tokens, video, whole)
        return {"bytes": target.stat().st_size}

    def write(self, tokens: Path, video: str, whole: Path) -> None:
        """Converts a video's file of tokens to the file ``whole``."""
        raise NotImplementedError(type(self).__name__)


class Safetensors(OneFile):
    """The tokens as they are: ``VideoTokens.load`` maps them, bit for bit."""

    suffix, exact = SUFFIX, True
