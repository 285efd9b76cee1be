"""The reader's network: a plain SigLIP tower, and one linear layer that reads its tokens.

Letters: B pictures, N tokens, D features, R C rows and columns of sub-cells, G classes, L indices.
"""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from reading.truth import LONGEST, SMALL
from reading.vit.labels import ACROSS, CLASSES, COLUMNS, DOWN, GRID, PATCH, ROWS

MEAN = STD = (0.5, 0.5, 0.5)  # pixel values are (x / 255 - MEAN) / STD
_FEATURES, _LAYERS, _HEADS, _WIDE = 256, 4, 4, 768


class Network(nn.Module):
    """Pictures to what is said of their sub-cells."""

    def __init__(self) -> None:
        super().__init__()
        config = SiglipVisionConfig(
            hidden_size=_FEATURES,
            intermediate_size=_WIDE,
            num_hidden_layers=_LAYERS,
            num_attention_heads=_HEADS,
            image_size=SMALL[0],
            patch_size=PATCH,
            vision_use_head=False,
        )
        self.tower = SiglipVisionModel(config)
        self.glyph = nn.Linear(_FEATURES, DOWN * ACROSS * len(CLASSES))
        self.index = nn.Linear(_FEATURES, DOWN * ACROSS * LONGEST)

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


def save(network: Network, path: Path) -> None:
    """The weights in half precision."""
    save_file({k: v.half().contiguous() for k, v in network.state_dict().items()}, path)


def load(path: Path) -> Network:
    """The network as ``save`` left it, in float32, to be read with."""
    network = Network()
    network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return network.eval().requires_grad_(False)
