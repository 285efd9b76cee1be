"""SigLIP2's vision tower for pictures of any aspect ratio (NaFlex) on kept cells.

Letters: T frames, h w cells of a frame, N = h * w, n patches of a frame with its padding, R packed
rows, H heads, d features of a head, P patch side, D features.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn

from patchgate._tensors import arange, whole
from patchgate.encoders.families import structure
from patchgate.encoders.families.siglip import Siglip
from patchgate.encoders.families.structure import check_floats
from patchgate.gather import PixelSpec
from patchgate.gather.resize import PatchBudget, SizeRule

_PARTS = ("config.num_patches", "embeddings.resize_positional_embeddings")
_WIDER = 8  # features added to each head to mark padding; adding only one would lose alignment
_UNHEARD = 1e4  # a score that is lower by this is 0 after the softmax, in any dtype


class Siglip2(Siglip):
    """SigLIP2 NaFlex: a frame is a row of patches, and the shape of its grid is given besides.

    All patches of a frame's padding are equal: they attend to the frame's patches, and no patch
    attends to them. So one prefix token of a frame represents all of them.
    """

    names = ("Siglip2VisionModel", "Siglip2VisionTransformer")
    channels_last = True
    one_by_one = True

    def __init__(self, model: nn.Module) -> None:
        self._shape: tuple[int, int] | None = None
        self._padding = 0  # padded patches of a frame
        self._counted: dict[tuple[int, int, int], float] = {}  # by (h, w, n)
        super().__init__(model)

    # Sizes.

    @property
    def shape(self) -> tuple[int, int]:
        if self._shape is None:
            raise ValueError(
                "tower: its pictures have no size of their own; call it with spatial_shapes"
            )
        return self._shape

    @property
    def size(self) -> tuple[int, int]:
        h, w = self.shape
        return h * self.patch, w * self.patch

    @property
    def size_rule(self) -> SizeRule:
        return PatchBudget(self.model.config.num_patches)

    @property
    def grid_size(self) -> None:
        return None

    def sized(self, height: int, width: int) -> Self:
        """Returns the tower for frames of this size, without padding."""
        tower = self.copied()
        tower._shape = height // self.patch, width // self.patch
        return tower

    def remade(self, height: int, width: int, prefix: int) -> Self:
        if prefix not in (0, 1):
            raise ValueError(f"expected 0 or 1 prefix tokens, got {prefix}")
        tower = self.sized(height, width)
        tower.prefix = prefix  # of frames with padding
        return tower

    def fitted(self, spec: PixelSpec) -> Self:
        return self  # it takes pictures of any size

    def rows(self, frames: Tensor, index: Tensor) -> Tensor:
        rows = super().rows(frames, index).unflatten(1, (3, self.patch, self.patch))
        return rows.permute(0, 2, 3, 1).flatten(1)

    # The path of a token.

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        patches = self.projection(rows.to(self.weight.dtype))
        return patches + self._positions()[cell]

    def prefix_tokens(self) -> Tensor:
        zeros = self.weight.new_zeros((self.prefix, self.weight.shape[1]))
        # The model gives padding the position of the first patch.
        return self.embed(zeros, torch.zeros(self.prefix, dtype=torch.int64, device=zeros.device))

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = super().qkv(layer, x, cell)
        if not self.prefix:
            return query, key, value
        # One more feature of the keys of padding gives them a very low score with every query.
        each = _UNHEARD**0.5
        query, key, value = (nn.functional.pad(x, (0, _WIDER)) for x in (query, key, value))
        query[..., -1] = each
        key[..., -1] = (cell < 0).to(key.dtype)[:, None] * (-each / self.scale(layer))
        return query, key, value

    def added(self, layer: int, attended: Tensor) -> Tensor:
        width = self.model.encoder.layers[layer].self_attn.head_dim
        return super().added(layer, attended[..., :width])

    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
        scores = None if entry is None else entry[:, self.prefix :]
        return super().pool(dense[:, self.prefix :], scores, frames)

    # Arguments and outputs of the model's own call.

    def opened(self, pixel_values: Tensor, options: dict[str, Any]) -> tuple[Self, Tensor]:
        """Returns the tower for the grid of these frames, and the frames as ``[T, 3, h*P, w*P]``.

        Args:
            pixel_values: ``[T, n, P * P * 3]``.
            options: the call's other arguments. Two are removed: ``spatial_shapes`` ``[T, 2]``, h
                and w of each frame, all the same; and ``pixel_attention_mask`` ``[T, n]``, 1 for
                the first h * w patches.

        Raises:
            TypeError: there is no ``spatial_shapes``, or pixel values are not floats.
            ValueError: frames have different shapes, the mask is another one, or padding is not 0.
        """
        check_floats(pixel_values, self)
        if pixel_values.dim() != 3 or pixel_values.shape[2] != 3 * self.patch**2:
            raise ValueError(
                f"pixel_values: expected [T, n, {3 * self.patch**2}], got "
                f"{list(pixel_values.shape)}"
            )
        h, w = _one_shape(options.pop("spatial_shapes", None), *pixel_values.shape[:2])
        patches, padding = pixel_values.split([h * w, pixel_values.shape[1] - h * w], 1)
        _check_mask(options.pop("pixel_attention_mask", None), pixel_values, h * w)
        if bool(padding.any()):
            raise ValueError(
                f"pixel_values: expected zeros after the {h} x {w} patches of spatial_shapes"
            )
        tower = self.sized(h * self.patch, w * self.patch)
        tower._padding = padding.shape[1]
        tower.prefix = int(tower._padding > 0)
        cut = patches.unflatten(2, (self.patch, self.patch, 3)).unflatten(1, (h, w))
        return tower, cut.permute(0, 5, 1, 3, 2, 4).reshape(len(cut), 3, *tower.size)

    def output(
        self, features: Tensor, pooled: Tensor | None, states: Any, last: Tensor | None = None
    ) -> Any:
        if states is not None:
            states = tuple(None if state is None else self._padded(state) for state in states)
        return super().output(self._padded(features), pooled, states)

    def _padded(self, tokens: Tensor) -> Tensor:
        """Moves the padding's token behind the patches, once for each: ``[T, n, D]``."""
        padding = tokens[:, :1].expand(-1, self._padding, -1)
        return torch.cat([tokens[:, self.prefix :], padding], 1)

    def _positions(self) -> Tensor:
        """Returns the position embedding of each cell, ``[N, D]``, resized by the model itself."""
        return self._resized(self.model.embeddings.position_embedding.weight, self.cells)

    def _resized(self, trained: Tensor, rows: int) -> Tensor:
        """Resizes the trained positions to this grid: ``[rows, D]``, with padding at the end."""
        side = int(self.model.config.num_patches**0.5)
        table = trained.unflatten(0, (side, side))
        shape = whole(self.shape)[None]
        resized: Tensor = self.model.embeddings.resize_positional_embeddings(table, shape, rows)[0]
        return resized

    def position_flops(self, frames: int, dense: bool) -> float:
        if dense:
            return frames * self._resize_flops(self.cells + self._padding)
        return (1 + self.prefix) * self._resize_flops(self.cells)  # prefix_tokens calls embed

    def _resize_flops(self, rows: int) -> float:
        """Counts the operations of one resize as torch does.

        Versions of transformers differ: torch counts nothing for an interpolation, but counts a
        matrix product. So the model's own function is run once for each grid, on the meta device.
        """
        from torch.utils.flop_counter import FlopCounterMode  # slow to import

        key = (*self.shape, rows)
        if key not in self._counted:
            trained = self.model.embeddings.position_embedding.weight.to("meta")
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                self._resized(trained, rows)
            self._counted[key] = float(counter.get_total_flops())
        return self._counted[key]

    def _check_patches(self) -> None:
        structure.check_parts(self.model, _PARTS)
        expected = 3 * self.patch**2
        if self.weight.dim() != 2 or self.weight.shape[1] != expected:
            raise ValueError(
                f"tower: expected a patch embedding of 3 channels and {self.patch} pixels a side, "
                f"{expected} numbers, got a weight of {list(self.weight.shape)}"
            )


def _one_shape(shapes: Any, frames: int, most: int) -> tuple[int, int]:
    """Returns the h and w that all frames have, or raises."""
    if not isinstance(shapes, Tensor):
        raise TypeError(f"spatial_shapes: expected a Tensor [T, 2], got {type(shapes).__name__}")
    if list(shapes.shape) != [frames, 2] or not frames:
        raise ValueError(f"spatial_shapes: expected [{frames}, 2], got {list(shapes.shape)}")
    distinct = shapes.unique(dim=0).tolist()
    if len(distinct) > 1:
        raise ValueError(
            f"spatial_shapes: expected one height and width in a call, got {distinct}; frames of "
            "one clip have one size, and clips of others need calls of their own"
        )
    h, w = distinct[0]
    if min(h, w) < 1 or h * w > most:
        raise ValueError(f"spatial_shapes: {h} x {w} patches do not fit in {most}")
    return h, w


def _check_mask(mask: Any, pixel_values: Tensor, patches: int) -> None:
    """Raises a ``ValueError`` unless the mask shows exactly the patches of ``spatial_shapes``."""
    most = pixel_values.shape[1]
    if mask is None and patches == most:
        return
    expected = arange(most, device=pixel_values.device) < patches
    if (
        not isinstance(mask, Tensor)
        or mask.shape != pixel_values.shape[:2]
        or bool((mask.bool() != expected).any())
    ):
        raise ValueError(
            f"pixel_attention_mask: expected [T, {most}], 1 for the first {patches} patches that "
            "spatial_shapes names and 0 after them"
        )
