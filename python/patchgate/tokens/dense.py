"""The features of every cell of every frame, from those of the tokens.

Letters: T frames (or tubelets), H W pixels, h w cells, K tokens, D features, n cells that show
several tokens.
"""

import warnings

import torch
from torch import Tensor

from patchgate import _ops
from patchgate.gate import MOVED
from patchgate.tokens.blend import AVERAGED, Cells, blend_of, means
from patchgate.tokens.layout import TokenGrid


class Dense:
    """The calls of ``VideoTokens`` that go from tokens to cells."""

    features: Tensor  # [K, D]
    source: Tensor  # [T, h, w] int64
    kind: Tensor  # [T, h, w] uint8
    motion: Tensor  # [T, h, w, 2] int8
    grid: TokenGrid | None
    start_ids: Tensor | None  # [H, W] int32

    def dense(self, blend: bool = True) -> Tensor:
        """Returns every cell's features.

        A cell that changed, or has stood still since, has those of its source. A cell that moved
        lies over parts of several tokens, and has their mean, weighted by the pixels that it shows
        of each; so has a cell that stands still after it has moved. The weights are exact: the gate
        displaces the tokens' ids with the pixels, and the vectors say how.

        Sources alone count for features of integers (pixels among them), which have no mean without
        rounding, and of floats of 8 bits; for tokens of a tower's own call, where every cell shows
        what the tower computed; and for those of ``policies.Looker``, whose frames do not follow
        each other.

        Args:
            blend: False: moved cells, too, have the features of their source, which is the token
                with the most pixels.

        Returns:
            ``[T, h, w, D]`` on the device and in the dtype of the features; means are added up in
            float32 (of float64 in float64). Gradients flow to the features. Beside the result, the
            call needs memory for the features, the means and the ids of one picture, whatever T is.
            Features on a GPU stay there; the call waits for copies of tables to it.

        Warns:
            UserWarning: cells have moved, and these tokens do not know over which pixels: they are
                from a file of an older version, or were made without a ``grid``. Moved cells then
                have the features of their source. Tokenize the video again to get the mean.
        """
        table, row = self.rows() if blend else (self.features, self.source)
        return _ops.expand(table, row.to(table.device))

    def rows(self) -> tuple[Tensor, Tensor]:
        """Returns what ``dense`` makes cells of: the distinct rows of features, and each cell's.

        Returns:
            A table ``[K + n, D]`` of the K tokens and the means of n cells that lie over several;
            and the row of each cell, ``[T, h, w]`` int64 on the CPU. ``table[row]`` is ``dense()``,
            for which the table can be projected first, or frames taken one by one.

        Warns:
            UserWarning: as ``dense`` does.
        """
        known = self.grid
        if self.features.dtype not in AVERAGED or (known and not known.blends):
            return self.features, self.source
        if known is None:
            if bool((self.kind == MOVED).any()):
                warnings.warn(
                    "dense: some cells have moved, and these tokens do not know over which pixels "
                    "(a file of an older version, or tokens made without a grid): each shows the "
                    "features of the token with the most pixels; tokenize the video again to get "
                    "the mean of all, or pass blend=False",
                    stacklevel=3,
                )
            return self.features, self.source
        found = blend_of(self._cells(known), len(self.features))
        if found is None:
            return self.features, self.source
        return torch.cat([self.features, means(self.features, found)]), found.row

    def _cells(self, grid: TokenGrid) -> Cells:
        return Cells(self.kind, self.motion, self.source, grid, self.start_ids)
