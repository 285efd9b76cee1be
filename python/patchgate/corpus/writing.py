"""Writes the tokens of one video to a file while they are made. Letters: K tokens, D features."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

from patchgate.decode import Video
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import Gate
from patchgate.pipeline.collect import empty_chunk
from patchgate.pipeline.fitting import prepared
from patchgate.tokens import TokenChunk
from patchgate.tokens.layout import grid_of, layout_of
from patchgate.tokens.spill import TokenSpill


class TokenWriter:
    """Fits a gate and features to a video, and writes the chunks that they make.

    Use it in a ``with`` statement. If that ends before ``out.finish``, nothing is left behind.

    Attributes:
        gate, features: what ``token_chunks`` takes.
        out: the file that is written.
        width, dtype: of the features in the file, ``[K, D]``.

    Raises:
        OSError: the folder does not exist or is not writable, or the disk is full.
        ValueError: the path is no file; the tower does not take such frames.
    """

    def __init__(
        self,
        target: Path,
        video: Video,
        tower: GatedTower | None,
        gate: Gate,
        about: Mapping[str, str],
        *,
        saved: torch.dtype,
        replace: bool,
    ) -> None:
        """Begins a file.

        Args:
            target: the file to write.
            video: an open video.
            tower: a gated tower; None: tokens are the cells' own pixels.
            gate: a gate that fits the tower, or has a size; its settings are used.
            about: what the file's metadata says of where its contents come from.
            saved: the dtype of a tower's features in the file.
            replace: whether an older file may be replaced.
        """
        self._saved = None if tower is None else saved
        self.gate, self.features = prepared(video, tower, gate.fresh())
        empty = self._cast(empty_chunk(self.gate, self.features))
        layout, grid = None, None
        if tower is None:
            layout = layout_of(self.gate, video.colour.matrix)
        else:
            grid = grid_of(self.gate)
        self.width, self.dtype = empty.features.shape[1], empty.features.dtype
        self.out = TokenSpill(target, empty, layout, about, replace, grid)

    def add(self, chunk: TokenChunk) -> None:
        """Writes the next chunk. Synchronises. Raises an ``OSError`` if the disk is full."""
        self.out.add(self._cast(chunk))

    def _cast(self, chunk: TokenChunk) -> TokenChunk:
        if self._saved is None:
            return chunk
        return chunk._replace(features=chunk.features.to("cpu", self._saved))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.out.__exit__(kind, error, trace)
