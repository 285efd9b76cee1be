"""Which tokens enter a tower and its layers, and their embeddings.

Letters: T frames, N cells, m merge side, M = prefix + N * m^2 tokens of a frame, A active tokens of
all frames, n patches among them, D features, C channels, f frames of a tubelet, P patch side.
"""

import torch
from torch import Tensor

from patchgate.encoders.run.computed import refreshed
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.packed import Kept
from patchgate.encoders.tower import Tower


def entering(tower: Tower, fidelity: Fidelity, kept: Kept, moved: Tensor, before: int) -> Tensor:
    """Returns which tokens enter the first layer, ``[T, M]`` bool.

    Args:
        moved: ``[T, N]`` bool: cells that were not kept and have another source than in the frame
            before.
        before: the number of frames of the stream so far.
    """
    cells = kept.given
    if not fidelity.owns:
        cells = cells | moved if fidelity.repositions else cells
        cells = refreshed(cells, fidelity.refresh, before)
    tokens = cells.repeat_interleave(tower.tokens_per_cell, 1)
    some = cells.any(1, keepdim=True)  # [T, 1]
    if kept.turns and fidelity.context == "full":
        # Cells show what they showed in another frame than that of the prefix tokens' state.
        some[0] |= moved[0].any()
    return torch.cat([some.expand(-1, tower.prefix), tokens], 1)


def embedded(tower: Tower, rows: Tensor, cell: Tensor) -> Tensor:
    """Embeds the active tokens for the first layer, ``[A, D]``.

    Args:
        rows: ``[n, C * f * P * P]``, the pixels of the patches among the active tokens.
        cell: ``[A]`` int64, the patch's number in its frame; -1: a prefix token.
    """
    patches = tower.embed(rows, cell[cell >= 0])
    if not tower.prefix:
        return patches
    first = tower.prefix_tokens().to(patches.dtype)  # [prefix, D]
    frames = (len(cell) - len(patches)) // tower.prefix
    x = patches.new_empty((len(cell), patches.shape[1]))
    x = x.index_copy(0, (cell < 0).nonzero().flatten(), first.repeat(frames, 1))
    return x.index_copy(0, (cell >= 0).nonzero().flatten(), patches)


def needs_earlier(tower: Tower, fidelity: Fidelity, layer: int) -> bool:
    """Whether inputs of a layer are needed of tokens that are not active, too."""
    out = layer == tower.computed_layers or layer - 1 in tower.tapped
    parts = out and tower.tokens_per_cell > 1  # only some tokens of a cell may be active
    # If a layer activates only some tokens of a cell, this stays so in all later layers.
    below = any(fidelity.watches(earlier) for earlier in range(layer))
    return (layer < tower.computed_layers and fidelity.watches(layer)) or (parts and below)
