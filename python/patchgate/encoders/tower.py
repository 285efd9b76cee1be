"""What a tower must offer to run on kept cells only.

Letters: K kept patches, F frames that keep a cell, R packed rows, N patches of a frame, H heads,
d features of a head, D features, C channels, P patch side.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor, nn


class Tower(ABC):
    """A family of vision transformers, seen through its own submodules.

    Modules are looked up in every call, so that weights that were moved, cast or replaced (by
    adapters, say) are those in use. A new family derives from this and is added to
    ``families.FAMILIES``.
    """

    names: ClassVar[tuple[str, ...]]  # class names in transformers
    prefix: int  # CLS and registers: tokens of a frame before its patches

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model

    # Sizes.

    @property
    @abstractmethod
    def patch(self) -> int:
        """P."""

    @property
    @abstractmethod
    def side(self) -> int:
        """Of the picture in pixels."""

    @property
    @abstractmethod
    def weight(self) -> Tensor:
        """The weight that pixels meet first: its dtype and device are those of the tower."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """Layers."""

    @property
    def covered(self) -> int:
        """Of the picture's side, what whole patches cover: a convolution drops the rest."""
        return self.side // self.patch * self.patch

    @property
    def cells(self) -> int:
        """N."""
        return (self.side // self.patch) ** 2

    # The path of a token. ``cell`` is its place in the frame's N; -1: a prefix token.

    @abstractmethod
    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        """Patches ``[K, C * P * P]`` at cells ``[K]`` as they enter the first layer, ``[K, D]``."""

    @abstractmethod
    def prefix_tokens(self) -> Tensor:
        """The prefix tokens of any frame as they enter the first layer, ``[prefix, D]``."""

    @abstractmethod
    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What rows ``[R, D]`` at cells ``[R]`` bring to a layer's attention, ``[R, H, d]`` each:
        normed, projected, rotated.
        """

    @abstractmethod
    def scale(self, layer: int) -> float:
        """Of a layer's scores."""

    def windows(self, layer: int) -> Tensor | None:
        """The window of each of a frame's tokens ``[prefix + N]`` int64, if a layer's attention
        does not cross them.
        """
        return None

    @abstractmethod
    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        """The layer's output ``[R, D]`` from its input and the heads' sums ``[R, H, d]``."""

    @abstractmethod
    def layer_flops(self, layer: int) -> float:
        """Operations of a layer's linear parts, per token; a multiply and an add are two."""

    def leave(self, rows: Tensor) -> Tensor:
        """The tower's ``last_hidden_state`` of packed rows ``[R, D]``."""
        return rows

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

    # What it looks like from outside.

    def opened(self, pixel_values: Tensor, options: dict[str, Any]) -> tuple["Tower", Tensor]:
        """The tower for pictures of this size, and they as frames ``[T, 3, H, W]``.

        Args:
            pixel_values: as the tower takes them.
            options: what else its call was given; what is used is taken out.

        Raises:
            TypeError, ValueError: they do not fit.
        """
        return self, pixel_values

    def output(self, features: Tensor, pooled: Tensor | None, states: Any) -> Any:
        """What the tower's call returns.

        Args:
            features: ``[T, prefix + N, D]``. pooled: ``[T, D]``.
            states: hidden states, a tuple of such tensors (None where not asked for), or None.
        """
        from transformers.modeling_outputs import BaseModelOutputWithPooling  # only where it is

        return BaseModelOutputWithPooling(features, pooled, states)

    # What it refuses.

    @abstractmethod
    def check_mode(self) -> None:
        """Raises where training would need what packing leaves out."""

    def check_dtype(self) -> None:
        """Raises if the weights are not of one dtype on one device."""
        kinds = {(p.dtype, p.device) for p in self.model.parameters() if p.is_floating_point()}
        if len(kinds) > 1:
            listed = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise ValueError(f"tower: expected weights of one dtype on one device, got {listed}")
