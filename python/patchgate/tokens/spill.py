"""Writes tokens to disk as they come, in memory that does not grow with the video.

``VideoTokens.save`` needs all tokens at once. Here every tensor goes to a raw file of its own, in a
hidden folder beside the output. At the end, the header and these files are joined into one
safetensors file. It is written by hand, because the library's ``save_file`` wants every tensor
mapped or in memory at once, which counts as memory of the process. The format is small: 8 bytes
with the length of the header (little endian); the header, JSON padded with spaces to 8 bytes; the
tensors. See https://github.com/huggingface/safetensors#format.

Letters: T frames (or tubelets) of a chunk, h w cells, K tokens of a chunk.
"""

import json
import math
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from patchgate.beside import scratch_beside
from patchgate.gate import CHANGED
from patchgate.gate.calls import Calls, Undo
from patchgate.gate.memory import MOST_TOKENS
from patchgate.tokens import file as token_file
from patchgate.tokens.chunk import TokenChunk
from patchgate.tokens.layout import TokenLayout

_DTYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int8: "I8",
    torch.uint8: "U8",
}
_SLICE = 1 << 20  # elements worked on at once


def _nothing() -> None:
    """Nothing to undo."""


class TokenSpill:
    """Writes a video's tokens to one file, which ``VideoTokens.load`` reads.

    Use it in a ``with`` statement. If that ends before ``finish``, nothing is left behind, and an
    older file of that name stays as it was. Finishing takes up to twice the file's size on disk.

    Args:
        path: the file to write.
        empty: a chunk of no frames and no tokens, with the shapes and dtypes of those to come.
        layout: the layout of the tokens.

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

    def __init__(self, path: str | PathLike[str], empty: TokenChunk, layout: TokenLayout) -> None:
        self._path, self._metadata = (
            Path(path),
            token_file.metadata(asdict(layout)),
        )
        self._empty = empty._asdict()
        self._calls = Calls("TokenSpill")
        self._undo_last: Undo = _nothing
        self.frames = self.tokens = 0
        names = (*self._empty, "last", "cu_seqlens")
        with ExitStack() as stack:
            self.scratch = stack.enter_context(scratch_beside(self._path))
            self._parts = {
                # Nothing is held back: a full disk shows in the call that fills it.
                name: stack.enter_context((self.scratch / name).open("wb", buffering=0))
                for name in names
            }
            self._on_exit = stack.pop_all()
        self._put("cu_seqlens", torch.zeros(1, dtype=torch.int32, device="cpu"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._on_exit.__exit__(kind, error, trace)

    def add(self, chunk: TokenChunk) -> None:
        """Adds the next frames.

        Raises:
            OSError: the disk is full.
            ValueError: a cell whose source is no token so far; more tokens than 2^31 - 2.
        """
        self._calls.run(self._mark, lambda: self._add(chunk))

    def _mark(self) -> Undo:
        sizes = {name: part.tell() for name, part in self._parts.items()}
        frames, tokens = self.frames, self.tokens
        self._undo_last = _nothing

        def back() -> None:
            self._undo_last()
            for name, part in self._parts.items():
                part.truncate(sizes[name])
                part.seek(sizes[name])
            self.frames, self.tokens = frames, tokens

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
        for name, values in chunk._asdict().items():
            self._put(name, values)
        self._put("last", chunk.frame)
        ends = (chunk.kind == CHANGED).flatten(1).sum(1).cumsum(0) + self.tokens  # [T]
        self._put("cu_seqlens", ends.int())
        self._note_last_uses(source, tokens)
        self.tokens = tokens
        self.frames += len(chunk.kind)

    def _put(self, name: str, values: Tensor) -> None:
        left = memoryview(values.contiguous().numpy().data).cast("B") if values.numel() else b""
        while left:
            left = left[self._parts[name].write(left) :]

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

    def finish(self, check: Callable[[], None] = lambda: None) -> int:
        """Puts the file in its place, in one step, and returns its size in bytes.

        Args:
            check: a function that is called every few megabytes and right before that step. If it
                raises, no file is left.

        Raises:
            OSError: the disk is full; with more room, it may be called again.
        """
        return self._calls.run(lambda: _nothing, lambda: self._finish(check))

    def _finish(self, check: Callable[[], None]) -> int:
        self._write_spans(check)
        whole = self.scratch / "whole"
        with whole.open("wb") as out:
            out.write(self._header())
            for name in self._order():
                with (self.scratch / name).open("rb") as raw:
                    while piece := raw.read(_SLICE):
                        check()
                        out.write(piece)
        size = whole.stat().st_size
        check()
        os.replace(whole, os.path.realpath(self._path))
        return size

    def _write_spans(self, check: Callable[[], None]) -> None:
        """Writes for how many frames each token holds, as ``layout.spans`` counts them."""
        last, frame = ((self.scratch / name).open("rb") for name in ("last", "frame"))
        with last, frame, (self.scratch / "span").open("wb") as span:
            while len(used := np.fromfile(last, np.int64, _SLICE)):
                check()
                span.write((used - np.fromfile(frame, np.int64, _SLICE) + 1).data)

    def _tensors(self) -> dict[str, tuple[torch.dtype, list[int]]]:
        per_token = {"features", "frame", "cell"}
        tensors = {
            name: (like.dtype, [self.tokens if name in per_token else self.frames, *like.shape[1:]])
            for name, like in self._empty.items()
        }
        tensors["span"] = (torch.int64, [self.tokens])
        tensors["cu_seqlens"] = (torch.int32, [self.frames + 1])
        return tensors

    def _order(self) -> list[str]:
        """Puts tensors of wide numbers first, as the library does, so that all are aligned."""
        tensors = self._tensors()
        return sorted(tensors, key=lambda name: (-tensors[name][0].itemsize, name))

    def _header(self) -> bytes:
        header: dict[str, object] = {"__metadata__": self._metadata}
        begin = 0
        for name in self._order():
            dtype, shape = self._tensors()[name]
            end = begin + math.prod(shape) * dtype.itemsize
            header[name] = {
                "dtype": _DTYPES[dtype],
                "shape": shape,
                "data_offsets": [begin, end],
            }
            begin = end
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text
