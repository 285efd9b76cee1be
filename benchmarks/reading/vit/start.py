"""Where training starts from. Left to chance, the index is not learned in the time there is: a
network of the same size that reads nine glyphs in ten still guesses it.

Letters: D features, N tokens, P patch side, n patches.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reading.vit.labels import CLASSES, GRID, PATCH
from reading.vit.model import Network

BESIDE = ((0, -1), (0, 1), (-1, 0), (1, 0))  # rows down, columns right
BEFORE = ((0, -1), (0, -2), (0, -3), (0, -4))
LAYERS = (BESIDE, BESIDE, BEFORE, BEFORE)  # a head each: a glyph's parts, then those before it
LUMA = (0.299, 0.587, 0.114)
PLACE = 2.0  # size of the position in a token, a random patch being 1


@torch.no_grad()
def start(network: Network, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Sets the first weights; ``pictures`` ``[., ., 3]`` show what text looks like."""
    tower = network.tower
    features = tower.config.hidden_size
    basis = torch.linalg.qr(torch.randn(features, features)).Q  # [D, D], rows orthonormal
    places, rest = basis[: 2 * GRID], basis[2 * GRID :]
    row, column = places.split(GRID)  # [GRID, D] each
    embeddings = tower.embeddings
    place = (row[:, None] + column).flatten(0, 1)  # [N, D]
    embeddings.position_embedding.weight.copy_(PLACE * (features / 32) ** 0.5 * place)
    content = rest.T @ rest @ _whitened(pictures, features)  # [D, P * P], nothing along a place
    weight = embeddings.patch_embedding.weight  # [D, 3, P, P]
    weight.copy_(content.view(-1, 1, PATCH, PATCH) * torch.tensor(LUMA)[:, None, None])
    for layer, heads in zip(tower.encoder.layers, LAYERS, strict=True):
        _aim(layer.self_attn, row, column, heads)
    network.glyph.bias.unflatten(0, (-1, len(CLASSES)))[:, 0] = 3  # most sub-cells are blank


def _whitened(pictures: Sequence[NDArray[np.uint8]], features: int) -> Tensor:
    """[D, P * P]: patches of text to features that vary alike and independently, so that strokes
    count as much as areas, and brightness not at all."""
    patches = torch.cat([_patches(picture) for picture in pictures])  # [n, P * P]
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    scale = (values + 0.01 * values[-1]).rsqrt()
    kept = (vectors * scale)[:, -features:][:, 1:].T  # without the mean, whose value is 0
    turned = torch.linalg.qr(torch.randn(features, features)).Q[:, : len(kept)] @ kept
    return turned / (patches @ turned.T).std()


def _patches(picture: NDArray[np.uint8]) -> Tensor:
    """The patches of a picture that show something, without their brightness."""
    luma = torch.from_numpy(picture).float() @ torch.tensor(LUMA) / 127.5
    patches = luma.unfold(0, PATCH, PATCH).unfold(1, PATCH, PATCH).flatten(2).flatten(0, 1)
    patches = patches - patches.mean(1, keepdim=True)
    return patches[patches.std(1) > 0.05]


def _aim(
    attention: nn.Module, row: Tensor, column: Tensor, heads: Sequence[tuple[int, int]]
) -> None:
    """Has every head look from each token at the one so many rows down and columns right."""
    query, key, out = attention.q_proj, attention.k_proj, attention.out_proj
    for head, (down, right) in enumerate(heads):
        first = head * attention.head_dim
        query.weight[first : first + attention.head_dim] *= 0.3
        key.weight[first : first + attention.head_dim] *= 0.3
        aimed = slice(first, first + 2 * GRID)
        query.weight[aimed] += torch.cat([row, column])
        key.weight[aimed] += torch.cat([_shifted(row, down), _shifted(column, right)])
    out.weight *= 0.5  # what is seen there is not to drown what is here


def _shifted(code: Tensor, by: int) -> Tensor:
    """``[GRID, D]`` with row i that was row i + by; zeros from beyond the edge."""
    shifted = torch.zeros_like(code)
    inside = [i for i in range(GRID) if 0 <= i + by < GRID]
    shifted[inside] = code[[i + by for i in inside]]
    return shifted
