"""The pixels of tokens so far, on the disk: cells of later frames may return to any of them.

Letters: K tokens of a chunk, D samples of a token, n some tokens of earlier chunks.
"""

import tempfile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchgate.gate import RETURNED
from patchgate.tokens import TokenChunk


class Earlier:
    """Gives chunks the earlier tokens to which their cells return. Use it in a ``with``.

    A chunk has only the tokens of its own frames. The rows of all chunks are kept in a file without
    a name, so that memory does not grow with the video.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._tokens = 0  # in the file

    def __enter__(self) -> "Earlier":
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def completed(self, chunk: TokenChunk) -> TokenChunk:
        """Returns the next chunk with the earlier tokens that its returning cells show in front.

        Call it once for each chunk, in order. The sources of other cells are not renumbered: no
        picture is made of them.
        """
        back = chunk.kind == RETURNED  # [T, h, w]
        shown = chunk.source[back]
        first, whole = self._tokens, chunk
        if len(shown):
            named = shown[shown < first].unique()  # [n]
            features = torch.cat([self._rows(named, chunk.features), chunk.features])
            source = chunk.source.clone()
            old = torch.searchsorted(named, shown.clamp(max=first))
            source[back] = torch.where(shown < first, old, shown - first + len(named))
            places = torch.zeros((len(named), 2), dtype=chunk.cell.dtype, device="cpu")
            cell = torch.cat([places, chunk.cell])
            whole = chunk._replace(features=features, source=source, cell=cell)
        self._file.seek(0, 2)
        self._file.write(chunk.features.contiguous().numpy().data)
        self._tokens += len(chunk.features)
        return whole

    def _rows(self, named: Tensor, like: Tensor) -> Tensor:
        """Reads the rows of some tokens, ``[n, D]``."""
        if not len(named):
            return like[:0]
        self._file.flush()
        shape = (self._tokens, like.shape[1])
        table = np.memmap(self._file, np.uint8, "r", shape=shape)
        return torch.from_numpy(table[named.numpy()])
