"""Writes tokens to disk as they come, in memory that does not grow with the video.

``VideoTokens.save`` needs all tokens at once. Here ``Parts`` takes each chunk's.

Letters: T frames (or tubelets) of a chunk, h w cells, K tokens of a chunk.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from patchgate.gate import CHANGED
from patchgate.gate.calls import Calls, Undo
from patchgate.gate.memory import MOST_TOKENS
from patchgate.tokens import file as token_file
from patchgate.tokens.chunk import TokenChunk
from patchgate.tokens.layout import TokenGrid, TokenLayout
from patchgate.tokens.parts import SLICE, Parts

_NOTHING: Mapping[str, str] = MappingProxyType({})


def _nothing() -> None:
    """Nothing to undo."""


class TokenSpill:
    """Writes a video's tokens to one file, which ``VideoTokens.load`` reads.

    Use it in a ``with`` statement. If that ends before ``finish``, nothing is left behind, and an
    older file of that name stays as it was. Finishing takes up to twice the file's size on disk.

    Args:
        path: the file to write.
        empty: a chunk of no frames and no tokens, with the shapes and dtypes of those to come.
        layout: the layout of the tokens; None: they are a tower's.
        about: what else its metadata says: see ``file.metadata``.
        replace: whether an older file may be replaced.
        grid: the grid of a tower's tokens.

    Attributes:
        frames, tokens: how many were added so far.
        scratch: the hidden folder, gone when the ``with`` ends.

    A call that fails in any way leaves the tokens as they were before it: a full disk may be
    cleared, and the chunk added again. One thread at a time.

    Raises:
        OSError: the folder does not exist or is not writable, or the disk is full.
        ValueError: the path is no file.
        RuntimeError: another thread is in a call.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        empty: TokenChunk,
        layout: TokenLayout | None,
        about: Mapping[str, str] = _NOTHING,
        replace: bool = True,
        grid: TokenGrid | None = None,
    ) -> None:
        self._layout = None if layout is None else asdict(layout)
        self._grid = None if grid is None else asdict(grid)
        self._about = about
        self._empty = empty.tensors()
        self._calls = Calls("TokenSpill")
        self._undo_last: Undo = _nothing
        self.frames = self.tokens = 0
        self._returns = False  # whether cells return to earlier tokens
        self._parts = Parts(path, (*self._empty, "last", "cu_seqlens"), replace)
        self.scratch = self._parts.scratch
        self._parts.put("cu_seqlens", torch.zeros(1, dtype=torch.int32, device="cpu"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._parts.exit(kind, error, trace)

    def add(self, chunk: TokenChunk) -> None:
        """Adds the next frames.

        Raises:
            OSError: the disk is full.
            ValueError: a cell whose source is no token so far; more tokens than 2^31 - 2.
        """
        self._calls.run(self._mark, lambda: self._add(chunk))

    def _mark(self) -> Undo:
        cut = self._parts.mark()
        frames, tokens, returns = self.frames, self.tokens, self._returns
        self._undo_last = _nothing

        def back() -> None:
            self._undo_last()
            cut()
            self.frames, self.tokens, self._returns = frames, tokens, returns

        return back

    def _add(self, chunk: TokenChunk) -> None:
        tokens, source = self.tokens + len(chunk.frame), chunk.source
        if tokens > MOST_TOKENS:
            raise ValueError(f"chunk: expected at most {MOST_TOKENS} tokens in all, got {tokens}")
        if source.numel() and not 0 <= int(source.min()) <= int(source.max()) < tokens:
            raise ValueError(
                f"chunk.source: expected some of the {tokens} tokens so far, got "
                f"{int(source.min())}..{int(source.max())}"
            )
        for name in self._empty:
            self._parts.put(name, getattr(chunk, name))
        self._parts.put("last", chunk.frame)
        ends = (chunk.kind == CHANGED).flatten(1).sum(1).cumsum(0) + self.tokens  # [T]
        self._parts.put("cu_seqlens", ends.int())
        self._note_last_uses(source, tokens)
        self.tokens = tokens
        self.frames += len(chunk.kind)
        self._returns = self._returns or token_file.returns(chunk.kind)

    def _note_last_uses(self, source: Tensor, tokens: int) -> None:
        """Notes the last frame that shows each token. Any token may be shown again, however old it
        is, so this list stays on the disk.
        """
        if not tokens:
            return
        last = np.memmap(self.scratch / "last", np.int64, "r+")  # [K of all frames so far]
        every = source.flatten().numpy()
        before = last[every]

        def back() -> None:
            last[every] = before

        self._undo_last = back
        for t, sources in enumerate(source.flatten(1).numpy(), self.frames):
            last[sources] = t

    def finish(self, check: Callable[[], None] = lambda: None, complete: bool = True) -> Path:
        """Puts the file in its place, in one step, and returns its path.

        Args:
            check: a function that is called every few megabytes and right before that step. If it
                raises, no file is left.
            complete: False says in the file's name and metadata that the video has more frames.

        Raises:
            OSError: the disk is full; with more room, it may be called again.
            FileExistsError: there is a file that must not be replaced.
        """
        return self._calls.run(lambda: _nothing, lambda: self._finish(check, complete))

    def _finish(self, check: Callable[[], None], complete: bool) -> Path:
        self._write_spans(check)
        metadata = token_file.metadata(
            self._layout,
            self._about,
            complete,
            self._grid,
            self._returns or "lit" in self._empty,
        )
        return self._parts.join(self._tensors(), metadata, check, complete)

    def _write_spans(self, check: Callable[[], None]) -> None:
        """Writes for how many frames each token holds, as ``layout.spans`` counts them."""
        last, frame = ((self.scratch / name).open("rb") for name in ("last", "frame"))
        with last, frame, (self.scratch / "span").open("wb") as span:
            while len(used := np.fromfile(last, np.int64, SLICE)):
                check()
                span.write((used - np.fromfile(frame, np.int64, SLICE) + 1).data)

    def _tensors(self) -> dict[str, tuple[torch.dtype, list[int]]]:
        per_token = {"features", "frame", "cell"}
        tensors = {
            name: (like.dtype, [self.tokens if name in per_token else self.frames, *like.shape[1:]])
            for name, like in self._empty.items()
        }
        tensors["span"] = (torch.int64, [self.tokens])
        tensors["cu_seqlens"] = (torch.int32, [self.frames + 1])
        return tensors
