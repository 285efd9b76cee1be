"""A budget instead of a threshold: the k patches of the whole clip that differ most.

Efficient Video Sampling's rule (NVIDIA, arXiv 2510.14624; in vLLM and SGLang) before the tower: of
all patches of a clip those with the largest difference from the frame before are kept, the first
frame whole. EVS ranks the cosine distance of the tower's outputs, for which every frame must be
encoded; on pixels it is the mean absolute difference that is ranked here.
"""

import torch
from torch import Tensor


def keep_mask(differences: Tensor, tokens: int) -> Tensor:
    """The ``tokens`` patches of largest difference, ties to the earliest.

    Args:
        differences: ``[T, h, w]`` to the frame before; the first frame has ``inf``.
        tokens: at least those of the first frame.

    Returns:
        ``[T, h, w]`` bool.
    """
    whole = differences[0].numel()
    if not whole <= tokens <= differences.numel():
        raise ValueError(f"tokens: expected {whole}..{differences.numel()}, got {tokens}")
    order = differences.flatten().argsort(descending=True, stable=True)
    keep = torch.zeros(differences.numel(), dtype=torch.bool, device=differences.device)
    keep[order[:tokens]] = True
    return keep.view(differences.shape)
