"""A control: cells at random, the first frame whole."""

import torch

from peers import top_k
from peers.choice import Choice


def choose(shape: tuple[int, int, int], share: float, seed: int = 0) -> Choice:
    """``share`` of the cells of a clip ``(T, h, w)``, at least its first frame."""
    random = torch.Generator().manual_seed(seed)
    rank = torch.rand(shape, generator=random)
    rank[0] = torch.inf
    tokens = max(rank[0].numel(), round(rank.numel() * share))
    return Choice.of(top_k.keep_mask(rank, tokens))
