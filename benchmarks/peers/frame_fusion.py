"""FrameFusion's merging (Fu et al., arXiv 2501.01986), right after the tower.

In the original it happens in the first layers of the language model, and attention prunes what is
still above the budget; without one, merging alone has to meet it.

Letters: T frames, N cells.
"""

import torch
from torch import Tensor

from peers.choice import Choice, numbered

SHARE, LEAST = 0.3, 0.6


def choose(alike: Tensor, share: float = SHARE, least: float = LEAST) -> Choice:
    """Tokens most like the same place of the frame before join it; runs become their mean.

    Args:
        alike: cosines ``[T, N]`` to the frame before, of ``dtd.likenesses``.
        share: of the tokens that stay, if enough of them are alike.
        least: cosine below which nothing is merged; -1: as much as the budget asks for.
    """
    frames, cells = alike.shape
    wanted = min(frames * cells - int(frames * cells * share), (frames - 1) * cells)
    order = alike.flatten().argsort(descending=True, stable=True)[:wanted]
    merged = torch.zeros(frames * cells, dtype=torch.bool, device=alike.device)
    merged[order] = alike.flatten()[order] >= least
    return Choice(_run_starts(merged.view(frames, cells)), mean=True)


def _run_starts(merged: Tensor) -> Tensor:
    """Where the run that each cell belongs to began, of a mask ``[T, N]``, as cell numbers."""
    return torch.where(merged, -1, numbered(merged)).cummax(0).values
