"""The reader's encoder: a hybrid vision transformer for grey pictures of several sizes.

ViT (arXiv 2010.11929) on the features of a convolutional stem, with a class token. Positions are
those of a grid of the largest picture; a smaller one lies in its upper left corner. Submodules have
the names of timm's ``VisionTransformer``, so that its weights fit.

Letters: B pictures, H W pixels, h w cells, N = h * w, D features, d features of a head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reading.formula.stem import PATCH, Stem

WIDTH, DEPTH, HEADS = 256, 4, 8
LARGEST = (192, 672)  # (H, W) of a picture
MEAN, STD = 0.7931, 0.1738  # of grey levels 0..1: pixel values are (x - MEAN) / STD


class _PatchEmbed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Stem()
        self.proj = nn.Conv2d(Stem.channels, WIDTH, 1)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys, values ``[..., 8, d]`` of ``[..., D]``."""
        query, key, value = self.qkv(x).unflatten(-1, (3, HEADS, -1)).unbind(-3)
        return query, key, value

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (each.transpose(1, 2) for each in self.heads(x))  # [B, 8, 1 + N, d]
        out = F.scaled_dot_product_attention(query, key, value)
        return self.proj(out.transpose(1, 2).flatten(2))


class _Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(WIDTH, 4 * WIDTH)
        self.fc2 = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.attn = _Attention()
        self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp = _Mlp()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class FormulaEncoder(nn.Module):
    """Grey pictures ``[B, 1, H, W]``, normalised, to ``[B, 1 + N, D]``: the class token first."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = _PatchEmbed()
        down, across = (side // PATCH for side in LARGEST)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + down * across, WIDTH))
        self.blocks = nn.ModuleList(_Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)

    def forward(self, pixel_values: Tensor) -> Tensor:
        h, w = (side // PATCH for side in pixel_values.shape[2:])
        embedding = self.patch_embed
        cells = embedding.proj(embedding.backbone(pixel_values)).flatten(2).transpose(1, 2)
        first = self.cls_token.expand(len(cells), -1, -1)
        x = torch.cat([first, cells], 1) + self.positions(h, w)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def positions(self, h: int, w: int) -> Tensor:
        """Positions of the class token and of each cell of a picture of so many, ``[1 + N, D]``."""
        down, across = (side // PATCH for side in LARGEST)
        grid = self.pos_embed[0, 1:].unflatten(0, (down, across))[:h, :w]
        return torch.cat([self.pos_embed[0, :1], grid.flatten(0, 1)])
