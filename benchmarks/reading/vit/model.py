"""The reader's network: a plain SigLIP tower, and one linear layer that reads its tokens.

Letters: B pictures, N tokens, D features, R C rows and columns of sub-cells, G classes, L indices.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from reading.truth import LONGEST, SMALL
from reading.vit.labels import ACROSS, CLASSES, COLUMNS, DOWN, GRID, PATCH, ROWS

MEAN = STD = (0.5, 0.5, 0.5)  # pixel values are (x / 255 - MEAN) / STD
_FEATURES, _LAYERS, _HEADS = 160, 6, 4


class Network(nn.Module):
    """Pictures to what is said of their sub-cells."""

    def __init__(self) -> None:
        super().__init__()
        config = SiglipVisionConfig(
            hidden_size=_FEATURES,
            intermediate_size=4 * _FEATURES,
            num_hidden_layers=_LAYERS,
            num_attention_heads=_HEADS,
            image_size=SMALL[0],
            patch_size=PATCH,
            vision_use_head=False,
        )
        self.tower = SiglipVisionModel(config)
        self.glyph = nn.Linear(_FEATURES, DOWN * ACROSS * len(CLASSES))
        self.index = nn.Linear(_FEATURES, DOWN * ACROSS * LONGEST)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """Where training starts from: each of these saves it many steps."""
        embeddings = self.tower.embeddings
        embeddings.position_embedding.weight.copy_(_waves())
        stripes = torch.randn(_FEATURES, 1, PATCH, PATCH)
        stripes -= stripes.mean((2, 3), keepdim=True)  # text is contrast, whatever the brightness
        luma = torch.tensor([0.3, 0.5, 0.2])[:, None, None]
        embeddings.patch_embedding.weight.copy_(0.15 * luma * stripes)
        self.glyph.bias.unflatten(0, (-1, len(CLASSES)))[:, 0] = 3  # most sub-cells are blank

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, 3, H, W]`` to logits, as ``read``."""
        return self.read(self.tower(pixel_values=pixel_values).last_hidden_state)

    def read(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of glyphs ``[B, R, C, G]`` and indices ``[B, R, C, L]`` from ``[B, N, D]``."""
        return _by_place(self.glyph(hidden)), _by_place(self.index(hidden))


def _by_place(read: Tensor) -> Tensor:
    """``[B, N, DOWN * ACROSS * k]`` to ``[B, R, C, k]``."""
    parts = read.unflatten(2, (DOWN, ACROSS, -1)).unflatten(1, (GRID, GRID))
    return parts.transpose(2, 3).reshape(len(read), ROWS, COLUMNS, -1)


def pixel_values(rgb: Tensor) -> Tensor:
    """uint8 ``[B, 3, H, W]`` as the tower takes it."""
    return rgb.float() / 127.5 - 1


def _waves() -> Tensor:
    """Sines of row and column ``[N, D]``: where learned positions start from, so that "the token
    to my left" is the same turn everywhere from the first step on."""
    rate = 0.5 ** torch.linspace(0, 5, _FEATURES // 4)  # from radians a token to one in 32
    turn = torch.arange(GRID)[:, None] * rate  # [GRID, D / 4]
    wave = torch.cat([turn.sin(), turn.cos()], 1)  # [GRID, D / 2]
    rows = wave[:, None].expand(-1, GRID, -1)
    columns = wave[None].expand(GRID, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)


def save(network: Network, path: Path) -> None:
    """The weights in half precision."""
    save_file({k: v.half().contiguous() for k, v in network.state_dict().items()}, path)


def load(path: Path) -> Network:
    """The network as ``save`` left it, in float32, to be read with."""
    network = Network()
    network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return network.eval().requires_grad_(False)
