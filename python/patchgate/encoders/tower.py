"""Tower: what a family of vision models must offer to run on kept cells only.

Letters: K kept patches, F frames that keep a cell, R packed rows, N patches of a frame, H heads,
d features of a head, D features, C channels, P patch side.
"""

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from patchgate.encoders.adapted import constant_when_compiled
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
    channels_last: ClassVar[bool] = False  # rows are (P, P, C), not (C, P, P)
    prefix: int  # CLS and registers: tokens of a frame before its patches
    shows_last: bool = False  # ``output`` needs what leaves the last layer, beside the features
    # The layer after which it ends: its features are what leaves that layer, as it is. None: it
    # goes on to its last layer, and through what comes after it.
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
        """m: patches along a cell's side, whose m * m tokens come one after the other."""
        return 1

    @property
    def temporal_patch(self) -> int:
        """Frames of a patch; T counts tubelets then."""
        return 1

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the picture in pixels.

        Raises:
            ValueError: the tower has none of its own, and was not ``opened`` for one.
        """

    @property
    @abstractmethod
    def depth(self) -> int:
        """Layers of the model."""

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
        """``(H, W)`` of what whole patches cover: a convolution drops the rest."""
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
        """Returns the tower that a stream had for pictures of a size.

        Raises:
            ValueError: the tower never has that many prefix tokens.
        """
        tower = self.sized(height, width)
        if tower.prefix != prefix:
            raise ValueError(f"expected {tower.prefix} prefix tokens, got {prefix}")
        return tower

    @property
    def size_rule(self) -> SizeRule:
        """What its processor does to a picture, as far as the tower knows."""
        return Stretch(*self.size)

    @property
    def grid_size(self) -> tuple[int, int] | None:
        """``(H, W)`` of the gate's grid, where it is the same in every call."""
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
        """Returns the tower whose features are ``hidden_states[layer]``, as most vision-language
        models take them. It computes neither later layers nor the last norm and the pooling.

        Args:
            layer: as in transformers: 0 is what enters the first layer, -1 what leaves the last.

        Raises:
            ValueError: no such hidden state; nothing to compute; features of other layers, too.
        """
        if not -self.depth <= layer <= self.depth or layer == 0:
            raise ValueError(
                f"feature_layer: expected a hidden state after one of {self.depth} layers, got "
                f"{layer}"
            )
        if self.tapped or self.tokens_per_cell > 1:
            raise ValueError("feature_layer: this tower merges what leaves its layers")
        tower = copy.copy(self)
        tower.ends_after = layer % (self.depth + 1)
        return tower

    def rows(self, frames: Tensor, index: Tensor) -> Tensor:
        """The patches of some cells, as ``embed`` takes them.

        Args:
            frames: ``[T, C, H, W]``, as ``opened`` gives them.
            index: ``[K]`` int64, flat over ``[T, h, w]``.
        """
        return patch_rows(frames, self.patch, index)

    # The path of a token. ``cell`` is its place in the frame's N * merge * merge patches, cell
    # after cell; -1: a prefix token.

    @abstractmethod
    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        """Patches ``[K, C * P * P]`` at cells ``[K]`` as they enter the first layer, ``[K, D]``."""

    @abstractmethod
    def prefix_tokens(self) -> Tensor:
        """The prefix tokens of any frame as they enter the first layer, ``[prefix, D]``."""

    @abstractmethod
    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Makes a layer's queries, keys and values, ``[R, H, d]`` each, from rows ``[R, D]`` at
        cells ``[R]``: normed, projected, rotated.
        """

    @abstractmethod
    def scale(self, layer: int) -> float:
        """The factor on a layer's attention scores."""

    def windows(self, layer: int) -> Tensor | None:
        """The window of each of a frame's tokens ``[prefix + N * merge^2]`` int64, if a layer's
        attention does not cross them.
        """
        return None

    @abstractmethod
    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        """The layer's output ``[R, D]`` from its input and the heads' sums ``[R, H, d]``."""

    @abstractmethod
    def layer_flops(self, layer: int) -> float:
        """Operations of a layer's linear parts, per token; a multiply and an add are two."""

    def position_flops(self, frames: int, dense: bool) -> float:
        """Operations of bringing positions to a frame's size; ``dense``: as the tower itself does
        it, else as ``embed`` and ``prefix_tokens`` do it, once for all of the frames.
        """
        return 0.0

    def leave(self, rows: Tensor) -> Tensor:
        """The features of cells (and prefix tokens), ``[R / merge^2, E]``, of what leaves the last
        layer, ``[R, D]``: for most towers their ``last_hidden_state``.
        """
        return rows

    @property
    def tapped(self) -> tuple[int, ...]:
        """Layers whose outputs are features, too: see ``tap``."""
        return ()

    def tap(self, layer: int, rows: Tensor) -> Tensor:
        """Further features of whole cells, ``[R / merge^2, E]``, of what leaves a tapped layer."""
        raise NotImplementedError

    def pool_entry(self, features: Tensor) -> Tensor | None:
        """What pooling needs of each token, ``[R, E]``; cached beside the features."""
        return None

    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
        """The tower's ``pooler_output`` of some frames.

        Args:
            dense: ``[T, prefix + N, D]`` last hidden states.
            entry: ``[F, prefix + N, E]`` of those frames, as ``pool_entry`` made them.
            frames: F of T.

        Returns:
            ``[F, D]``; None if the tower has none.
        """
        return None

    def pool_flops(self, frames: int, tokens: int, dense: bool) -> float:
        """Operations of pooling; ``dense``: as the tower itself does it."""
        return 0.0

    def copied(self) -> Self:
        """Another one of the same model: ``copy.copy`` in a way that torch.compile follows, which
        before torch 2.13 does not look into that, nor into ``vars``.
        """
        other = object.__new__(type(self))
        for name in self._own_names():
            setattr(other, name, getattr(self, name))
        return other

    @constant_when_compiled
    def _own_names(self) -> tuple[str, ...]:
        return tuple(vars(self))

    # What it looks like from outside.

    def opened(self, pixel_values: Tensor, options: dict[str, Any]) -> tuple["Tower", Tensor]:
        """Returns the tower for pictures of this size, and the pictures as frames
        ``[T, 3, H, W]``.

        Args:
            pixel_values: the pictures, as the model takes them.
            options: the other arguments of its call. Those that are used are removed.

        Raises:
            TypeError, ValueError: the arguments do not fit.
        """
        pictures = isinstance(pixel_values, Tensor) and pixel_values.dim() == 4
        return (self.sized(*pixel_values.shape[2:]) if pictures else self), pixel_values

    def output(
        self, features: Tensor, pooled: Tensor | None, states: Any, last: Tensor | None = None
    ) -> Any:
        """Makes what the model's own call returns.

        Args:
            features: ``[T, prefix + N, E]``. pooled: ``[T, D]``.
            states: hidden states, a tuple of ``[T, prefix + N * merge^2, D]`` (None where not
                asked for), or None.
            last: the last of them, with ``shows_last``.
        """
        from transformers.modeling_outputs import BaseModelOutputWithPooling  # only where it is

        return BaseModelOutputWithPooling(features, pooled, states)

    # What it refuses.

    @abstractmethod
    def check_mode(self) -> None:
        """Raises where training would need what packing leaves out."""
