"""Writes one vector a frame to disk as they come. Letters: T frames (or tubelets), D features."""

from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from patchgate.gate.calls import Calls, Undo
from patchgate.tokens import file as token_file
from patchgate.tokens.parts import Parts

_TENSORS = ("features", "pts_seconds")


class VectorSpill:
    """Writes the vectors of a video's frames to one safetensors file, as ``TokenSpill`` its tokens.

    The file has ``features`` ``[T, D]`` and ``pts_seconds`` ``[T]`` float64.

    Args:
        path: the file to write.
        empty: ``[0, D]``: the width and dtype of those to come.
        about: what else its metadata says: see ``file.metadata``.
        replace: whether an older file may be replaced.

    Attributes:
        frames: how many were added so far.

    Raises:
        OSError: the folder does not exist or is not writable, or the disk is full.
        ValueError: the path is no file.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        empty: Tensor,
        about: Mapping[str, str],
        replace: bool = True,
    ) -> None:
        self._empty, self._about, self.frames = empty, about, 0
        self._calls = Calls("VectorSpill")
        self._parts = Parts(path, _TENSORS, replace)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._parts.exit(kind, error, trace)

    def add(self, features: Tensor, pts_seconds: Tensor) -> None:
        """Adds the next frames, ``[T, D]`` and ``[T]``. A call that fails adds nothing.

        Raises:
            OSError: the disk is full.
        """
        self._calls.run(self._mark, lambda: self._add(features, pts_seconds))

    def _mark(self) -> Undo:
        cut, frames = self._parts.mark(), self.frames

        def back() -> None:
            cut()
            self.frames = frames

        return back

    def _add(self, features: Tensor, pts_seconds: Tensor) -> None:
        self._parts.put("features", features)
        self._parts.put("pts_seconds", pts_seconds)
        self.frames += len(pts_seconds)

    def finish(self, check: Callable[[], None] = lambda: None, complete: bool = True) -> Path:
        """Puts the file in its place: see ``TokenSpill.finish``."""
        width = self._empty.shape[1]
        tensors = {
            "features": (self._empty.dtype, [self.frames, width]),
            "pts_seconds": (torch.float64, [self.frames]),
        }
        about = token_file.described(token_file.EMBEDDING, self._about, complete)
        return self._parts.join(tensors, about, check, complete)
