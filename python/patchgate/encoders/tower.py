"""Tower: what a family of vision models must offer to run on kept cells only.

Letters: T frames, h w cells of a frame, N = h * w, m merge side, K kept cells, F frames that keep
a cell, R packed rows, H heads, d features of a head, D features, E features of a cell, n numbers
for pooling or of a tap, C channels, P patch side.
"""

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn

from patchgate.encoders.patch_grid import patch_rows
from patchgate.encoders.reach import Reaching
from patchgate.gather import PixelSpec
from patchgate.gather.resize import SizeRule, Stretch


class Tower(Reaching, ABC):
    """A family of vision transformers, seen through its own submodules.

    Modules are looked up in every call, so that weights that were moved, cast or replaced (by
    adapters, say) are those in use. A new family derives from this and is added to
    ``families.FAMILIES``. It names the modules that it calls (``called``) and embeds patches by
    ``embedded``; ``projection`` is what embeds them, ``projections`` what heads go through.
    """

    dense: ClassVar[tuple[str, ...]] = ()  # methods of the model that compute every cell
    # Other methods of the model that a gated tower has: each is its call with these options.
    calls: ClassVar[dict[str, dict[str, Any]]] = {}
    channels_last: ClassVar[bool] = False  # rows are (P, P, C), not (C, P, P)
    prefix: int  # CLS and registers: tokens of a frame before its patches
    shows_last: bool = False  # ``output`` needs the last layer's output besides the features
    # The layer whose output is its features, unchanged. None: it computes all, and ``leave``.
    ends_after: int | None = None

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    # Sizes.

    @property
    @abstractmethod
    def patch(self) -> int:
        """The side of a patch in pixels, P."""

    @property
    def merge(self) -> int:
        """The number of patches along a cell's side, m; the m * m tokens of a cell are adjacent."""
        return 1

    @property
    def temporal_patch(self) -> int:
        """The number of frames of a patch; if it is more than 1, T counts tubelets."""
        return 1

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the picture in pixels.

        Raises:
            ValueError: the tower has no size of its own, and was not made for one (``sized``).
        """

    @property
    @abstractmethod
    def depth(self) -> int:
        """The number of layers of the model."""

    @property
    def computed_layers(self) -> int:
        """The number of layers that are computed: all, or those up to ``ends_after``."""
        return self.depth if self.ends_after is None else self.ends_after

    @property
    def shape(self) -> tuple[int, int]:
        """``(h, w)``: cells down and across."""
        height, width = self.size
        return height // self.patch, width // self.patch

    @property
    def covered(self) -> tuple[int, int]:
        """``(H, W)`` of the part that whole patches cover; a convolution drops the rest."""
        h, w = self.shape
        return h * self.patch, w * self.patch

    @property
    def cells(self) -> int:
        """The number of cells of a frame, N."""
        h, w = self.shape
        return h * w

    @property
    def width(self) -> int:
        """The width E of a cell's features, those of tapped layers included."""
        return self.weight.shape[0]

    @property
    def tokens_per_cell(self) -> int:
        """The number of tokens of a cell, m * m."""
        return self.merge**2

    def sized(self, height: int, width: int) -> "Tower":
        """Returns the tower for pictures of another size, or itself if it takes only its own."""
        return self

    def remade(self, height: int, width: int, prefix: int) -> "Tower":
        """Returns the tower of a saved stream, from the size of its pictures and its prefix tokens.

        Raises:
            ValueError: the tower never has that many prefix tokens.
        """
        tower = self.sized(height, width)
        if tower.prefix != prefix:
            raise ValueError(f"expected {tower.prefix} prefix tokens, got {prefix}")
        return tower

    @property
    def size_rule(self) -> SizeRule:
        """How its processor resizes a picture, as far as the tower knows."""
        return Stretch(*self.size)

    @property
    def grid_size(self) -> tuple[int, int] | None:
        """``(H, W)`` of the gate's grid in pixels; None: it differs from call to call."""
        return self.covered

    def fitted(self, spec: PixelSpec) -> "Tower":
        """Returns the tower for the pictures that a processor makes.

        Raises:
            ValueError: the tower cannot take pictures of their size.
        """
        size = spec.crop or spec.size.target(*self.size, spec.cell)
        tower = self.sized(*size)
        if tuple(size) != tower.size:
            raise ValueError(
                f"processor: it makes pictures of {size[0]} x {size[1]}, the tower takes "
                f"{tower.size[0]} x {tower.size[1]}"
            )
        return tower

    def ended(self, layer: int) -> "Tower":
        """Returns the tower whose features are ``hidden_states[layer]``, as many VLMs use them.

        It computes neither later layers nor the last norm and the pooling.

        Args:
            layer: as in transformers: 0 is the input of the first layer, -1 the output of the last.

        Raises:
            ValueError: there is no such hidden state, no layer would be computed, or the tower
                merges features of its layers.
        """
        if not -self.depth <= layer <= self.depth or layer == 0:
            raise ValueError(
                f"feature_layer: expected a hidden state after one of {self.depth} layers, got "
                f"{layer}"
            )
        if self.tapped or self.tokens_per_cell > 1:
            raise ValueError("feature_layer: this tower merges the outputs of its layers")
        tower = copy.copy(self)
        tower.ends_after = layer % (self.depth + 1)
        return tower

    def rows(self, frames: Tensor, index: Tensor) -> Tensor:
        """Returns the patches of some cells for ``embed``, ``[K * m * m, C * P * P]``.

        Args:
            frames: ``[T, C, H, W]`` from ``opened``.
            index: ``[K]`` int64, flat over ``[T, h, w]``.
        """
        return patch_rows(frames, self.patch, index)

    # The path of a token. ``cell`` is its place among the frame's N * m * m patches, which are
    # listed cell after cell; -1: a prefix token.

    @abstractmethod
    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        """Embeds patches ``[R, C * P * P]`` at places ``[R]`` for the first layer, ``[R, D]``."""

    @abstractmethod
    def prefix_tokens(self) -> Tensor:
        """Returns the prefix tokens of any frame for the first layer, ``[prefix, D]``."""

    @abstractmethod
    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Computes a layer's queries, keys and values, ``[R, H, d]`` each: normed and rotated.

        ``x`` ``[R, D]`` is the layer's input, ``cell`` ``[R]`` int64 the place of each row.
        """

    @abstractmethod
    def scale(self, layer: int) -> float:
        """Returns the factor on a layer's attention scores."""

    def windows(self, layer: int) -> Tensor | None:
        """Returns the window of each of a frame's tokens, ``[prefix + N * m * m]`` int64, or None.

        Tokens of a layer with windows attend only to those of their own window.
        """
        return None

    @abstractmethod
    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        """Computes a layer's output ``[R, D]`` from its input and the heads' sums ``[R, H, d]``."""

    @abstractmethod
    def layer_flops(self, layer: int) -> float:
        """Counts a layer's operations in linear parts per token; a multiply and an add are two."""

    def position_flops(self, frames: int, dense: bool) -> float:
        """Counts the operations that resize positions; ``dense``: those of the model itself.

        Otherwise those of ``embed`` and ``prefix_tokens``, which resize once for all frames.
        """
        return 0.0

    def leave(self, rows: Tensor) -> Tensor:
        """Computes the features ``[R / (m * m), E]`` from the last layer's output ``[R, D]``."""
        return rows

    @property
    def tapped(self) -> tuple[int, ...]:
        """The layers whose outputs give features, too: see ``tap``."""
        return ()

    def tap(self, layer: int, rows: Tensor) -> Tensor:
        """Computes more features, ``[R / (m * m), n]``, from a tapped layer's output ``[R, D]``."""
        raise NotImplementedError

    @property
    def pools(self) -> bool:
        """Whether ``pool`` gives a vector a frame."""
        return type(self).pool is not Tower.pool

    @property
    def pools_prefix(self) -> bool:
        """Whether ``pool`` reads prefix tokens only, and is given no others."""
        return False

    def pool_entry(self, features: Tensor) -> Tensor | None:
        """Computes what pooling needs of each token, ``[R, n]``; it is kept beside the features."""
        return None

    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
        """Computes the tower's ``pooler_output`` of some frames, ``[F, D]``; None: it has none.

        Args:
            dense: ``[T, prefix + N, D]``, last hidden states (at least those that it reads).
            entry: ``[F, prefix + N, n]`` from ``pool_entry``, for these frames only.
            frames: F numbers among T.
        """
        return None

    def pool_flops(self, frames: int, tokens: int, dense: bool) -> float:
        """Counts the operations of pooling; ``dense``: those of the model itself."""
        return 0.0

    # Arguments and outputs of the model's own call.

    def opened(self, pixel_values: Tensor, options: dict[str, Any]) -> tuple["Tower", Tensor]:
        """Returns the tower for pictures of this size, and the pictures as ``[T, 3, H, W]``.

        Args:
            pixel_values: the pictures, as the model takes them.
            options: the other arguments of the call. Those that are used are removed.

        Raises:
            TypeError, ValueError: the arguments do not fit.
        """
        pictures = isinstance(pixel_values, Tensor) and pixel_values.dim() == 4
        return (self.sized(*pixel_values.shape[2:]) if pictures else self), pixel_values

    def output(
        self, features: Tensor, pooled: Tensor | None, states: Any, last: Tensor | None = None
    ) -> Any:
        """Makes the output of the model's own call.

        Args:
            features: ``[T, prefix + N, E]``.
            pooled: ``[T, D]``, or None.
            states: hidden states, a tuple of ``[T, prefix + N * m * m, D]`` (None for layers that
                were not asked for), or None.
            last: the last hidden state, for towers with ``shows_last``.
        """
        from transformers.modeling_outputs import BaseModelOutputWithPooling  # only where it is

        return BaseModelOutputWithPooling(features, pooled, states)

    # Modes that it refuses.

    @abstractmethod
    def check_mode(self) -> None:
        """Raises a ``ValueError`` if a training mode is on that packed tokens do not support."""
