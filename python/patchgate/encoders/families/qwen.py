"""Qwen2.5-VL's vision tower on kept cells, and the base class that it shares with Qwen3-VL's.

A cell is m x m patches of two frames. The layers have a token for each patch; the output has one
for each cell.

Letters: T tubelets, f frames of a tubelet, C channels, N cells of a frame, m merge side, K kept
cells, R packed rows (m * m for each cell), D features, E features of a cell, H heads, d features
of a head, P patch side.
"""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from patchgate.encoders.families import structure
from patchgate.encoders.families.structure import check_floats
from patchgate.encoders.patch_grid import PatchGrid, checked_grid
from patchgate.encoders.tower import Tower
from patchgate.gather import PixelSpec
from patchgate.gather.resize import Keep, SizeRule

_PARTS = ("patch_embed.proj", "rotary_pos_emb.inv_freq", "blocks", "merger")
_BLOCK_CALLS = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp")
_BLOCK_PARTS = (*_BLOCK_CALLS, "attn.num_heads", "attn.scaling")


class QwenVision(Tower):
    """A tower for frames of any size in whole cells. ``sized`` returns the tower for one size."""

    prefix = 0
    shows_last = True
    called = (
        "patch_embed",
        "pos_embed",
        *(f"blocks.*.{part}" for part in _BLOCK_CALLS),
        "merger",
        "deepstack_merger_list.*",
    )
    one_by_one = True
    parts: ClassVar[tuple[str, ...]] = ()  # attributes that the family's own code uses
    _rotation: tuple[Tensor, Tensor]  # cosine and sine at each position, [N * m * m, d] each

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        structure.check_parts(model, (*_PARTS, *self.parts))
        for i in range(self.depth):
            structure.check_parts(model, _BLOCK_PARTS, f"blocks.{i}")
        self._grid: PatchGrid | None = None

    # Sizes.

    @property
    def patch(self) -> int:
        return int(self.model.config.patch_size)

    @property
    def merge(self) -> int:
        return int(self.model.config.spatial_merge_size)

    @property
    def temporal_patch(self) -> int:
        return int(self.model.config.temporal_patch_size)

    @property
    def width(self) -> int:
        return int(self.model.config.out_hidden_size) * (1 + len(self.tapped))

    @property
    def grid(self) -> PatchGrid:
        """The patch grid of a frame."""
        if self._grid is None:
            raise ValueError(
                "tower: its frames have no size of their own; call it with grid_thw, or encode() "
                "with source"
            )
        return self._grid

    @property
    def shape(self) -> tuple[int, int]:
        return self.grid.h, self.grid.w

    @property
    def size(self) -> tuple[int, int]:
        return self.grid.size

    @property
    def covered(self) -> tuple[int, int]:
        return self.size

    @property
    def size_rule(self) -> SizeRule:
        return Keep()

    @property
    def grid_size(self) -> None:
        return None

    @property
    def projection(self) -> Any:
        return self.model.patch_embed.proj

    @property
    def patch_embedding(self) -> Any:
        return self.model.patch_embed

    @property
    def depth(self) -> int:
        return len(self.model.blocks)

    def fitted(self, spec: PixelSpec) -> Self:
        return self  # it takes pictures of any size

    def sized(self, height: int, width: int) -> Self:
        tower, cell = self.copied(), self.patch * self.merge
        if height % cell or width % cell or min(height, width) < cell:
            raise ValueError(f"tower: {height} x {width} pixels are not whole cells of {cell}")
        tower._grid = PatchGrid(
            height // cell, width // cell, self.merge, self.patch, self.temporal_patch
        )
        tower._rotation = tower._angles()
        return tower

    # The path of a token. ``cell`` is its position among the frame's N * m * m patches.

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        return self.embedded(rows)

    def prefix_tokens(self) -> Tensor:
        return self.weight.new_empty((0, self.weight.shape[0]))

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        joint = self.joint(layer, x).unflatten(1, (3, self.heads(layer), -1))  # [R, 3, H, d]
        query, key, value = joint.unbind(1)
        cos, sin = (part[cell, None] for part in self._rotation)  # [R, 1, d]
        return _rotated(query, cos, sin), _rotated(key, cos, sin), value

    def joint(self, layer: int, x: Tensor) -> Tensor:
        """Computes a layer's queries, keys and values side by side, ``[R, 3 * H * d]``."""
        block = self.model.blocks[layer]
        joint: Tensor = block.attn.qkv(block.norm1(x))
        return joint

    def heads(self, layer: int) -> int:
        """Returns the number of a layer's heads, H."""
        return int(self.model.blocks[layer].attn.num_heads)

    def scale(self, layer: int) -> float:
        return float(self.model.blocks[layer].attn.scaling)

    def projections(self, layer: int) -> tuple[nn.Module, ...]:
        return (self.model.blocks[layer].attn.proj,)

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        block = self.model.blocks[layer]
        x = x + self.added(layer, attended)
        return x + block.mlp(block.norm2(x))

    def leave(self, rows: Tensor) -> Tensor:
        return self.model.merger(rows)

    def layer_flops(self, layer: int) -> float:
        return structure.linear_flops(self.model.blocks[layer])

    def pool_flops(self, frames: int, tokens: int, dense: bool) -> float:
        mergers = 1 + len(self.tapped)  # each does the same work
        return mergers * structure.linear_flops(self.model.merger) * tokens / self.tokens_per_cell

    # Arguments and outputs of the model's own call.

    def opened(self, pixel_values: Tensor, options: dict[str, Any]) -> tuple[Self, Tensor]:
        """Returns the tower for the grid of these videos, and their frames ``[T * f, C, H, W]``.

        Args:
            pixel_values: ``[T * N * m * m, C * f * P * P]``, one video after the other.
            options: the call's other arguments. ``grid_thw`` ``[videos, 3]``, in tubelets and
                patches, is removed; ``clip_lengths`` is added: the number of tubelets of each
                video.

        Raises:
            TypeError: pixel values are not floats, or there is no ``grid_thw``.
            ValueError: videos have different sizes, or sizes that are not whole cells, or the
                number of rows does not match ``grid_thw``.
        """
        check_floats(pixel_values, self)
        grid_thw = options.pop("grid_thw", None)
        tubelets, height, width = checked_grid(grid_thw, self.merge)
        expected = [sum(tubelets) * height * width, self.weight[0].numel()]
        if list(pixel_values.shape) != expected:
            raise ValueError(
                f"pixel_values: grid_thw={grid_thw.tolist()} needs {expected}, got "
                f"{list(pixel_values.shape)}"
            )
        tower = self.sized(height * self.patch, width * self.patch)
        options["clip_lengths"] = tubelets
        return tower, tower.grid.frames(pixel_values)

    def rows(self, frames: Tensor, index: Tensor) -> Tensor:
        return self.grid.rows(frames, index)

    def output(
        self, features: Tensor, pooled: Tensor | None, states: Any, last: Tensor | None = None
    ) -> Any:
        """Makes the output of the model's own call, with all frames in one sequence.

        Args:
            features: ``[T, N, E]``.
            pooled: always None: the tower has no output of a whole frame.
            states: hidden states, a tuple of ``[T, N * m * m, D]`` (None for layers that were not
                asked for), or None.
            last: the last hidden state, ``[T, N * m * m, D]``.

        Returns:
            An output with ``last_hidden_state`` ``[T * N * m * m, D]`` and ``pooler_output``
            ``[T * N, E]``.
        """
        from transformers.modeling_outputs import BaseModelOutputWithPooling  # only where it is

        last, states = self.sequence(last), self.sequences(states)
        return BaseModelOutputWithPooling(last, features.flatten(0, 1), states)

    def sequence(self, state: Tensor | None) -> Tensor | None:
        """Puts patches ``[T, N * m * m, D]`` in the model's order, ``[T * N * m * m, D]``."""
        return None if state is None else state.flatten(0, 1)

    def sequences(self, states: Any) -> Any:
        """Puts each of a call's hidden states in the model's order."""
        return None if states is None else tuple(self.sequence(state) for state in states)

    # Modes that it refuses.

    def check_mode(self) -> None:
        for block in self.model.blocks:
            structure.check_checkpointing(block)

    def _angles(self) -> tuple[Tensor, Tensor]:
        """Computes cosine and sine of every patch's angles, ``[N * m * m, d]`` each, in float32.

        Half of the angles depend on the patch's row, half on its column. The model computes them in
        float32, too, whatever its dtype is.
        """
        frequency = self.model.rotary_pos_emb.inv_freq.float()  # [d / 4]
        places = self.grid.places(frequency.device)
        angles = (places[..., None].float() * frequency).flatten(1)  # [N * m * m, d / 2]
        return angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates ``[R, H, d]``: its first half with its second; in float32, as the model does."""
    first, second = x.float().chunk(2, -1)
    return (x.float() * cos + torch.cat([-second, first], -1) * sin).to(x.dtype)


class Qwen25Vision(QwenVision):
    """Qwen2.5-VL's tower: RMS norms, gated MLPs, and windowed attention in most layers."""

    names = ("Qwen2_5_VisionTransformerPretrainedModel",)
    parts = ("fullatt_block_indexes", "window_size")
    _window: Tensor  # [N * m * m] int64

    def sized(self, height: int, width: int) -> Self:
        tower = super().sized(height, width)
        tower._window = tower._window_numbers()
        return tower

    def windows(self, layer: int) -> Tensor | None:
        return None if layer in self.model.fullatt_block_indexes else self._window

    def sequence(self, state: Tensor | None) -> Tensor | None:
        """Puts patches in the model's order: window after window of each frame."""
        if state is None:
            return None
        return state[:, self._window.argsort(stable=True)].flatten(0, 1)

    def _window_numbers(self) -> Tensor:
        """Returns the window of each patch, ``[N * m * m]`` int64.

        Windows are squares of cells. The last ones of a row or column may be smaller.
        """
        side = int(self.model.window_size) // (self.patch * self.merge)  # in cells
        row, column = (self.grid.places(self.weight.device) // (self.merge * side)).unbind(1)
        return row * -(-self.grid.w // side) + column
