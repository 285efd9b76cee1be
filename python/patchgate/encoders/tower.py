"""What a tower must offer to run on kept cells only.

Letters: K kept patches, F frames that keep a cell, R packed rows, N patches of a frame, H heads,
d features of a head, D features, C channels, P patch side.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor, nn

from patchgate.encoders.packing import Attend, Segments


class Tower(ABC):
    """A family of vision transformers, seen through its own submodules.

    Modules are looked up in every call, so that weights that were moved, cast or replaced (by
    adapters, say) are those in use. A new family derives from this and is added to
    ``families.FAMILIES``.
    """

    names: ClassVar[tuple[str, ...]]  # class names in transformers
    parts: ClassVar[tuple[str, ...]]  # attributes that the family's code below uses
    prefix: ClassVar[int]  # CLS and registers: tokens of a frame before its patches

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        for path in (*self.parts, *_PARTS):
            self._part(path)
        for name in _LAYER_PARTS:
            for i in range(len(self.layers)):
                self._part(f"encoder.layers.{i}.{name}")
        self._check_patches()

    # What differs from family to family.

    @abstractmethod
    def prefix_tokens(self) -> Tensor:
        """The prefix tokens of any frame as they enter the first layer, ``[prefix, D]``."""

    def enter(self, patches: Tensor) -> Tensor:
        """What becomes of embedded patches ``[K, D]`` before the first layer."""
        return patches

    def leave(self, rows: Tensor) -> Tensor:
        """The tower's ``last_hidden_state`` of packed rows ``[R, D]``."""
        return rows

    def pool_entry(self, features: Tensor) -> Tensor | None:
        """What pooling needs of each token, ``[R, E]``; cached beside the features."""
        return None

    @abstractmethod
    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
        """The tower's ``pooler_output`` of some frames.

        Args:
            dense: ``[T, prefix + N, D]`` last hidden states.
            entry: ``[F, prefix + N, E]`` of those frames, as ``pool_entry`` made them.
            frames: F of T.

        Returns:
            ``[F, D]``; None if the tower has none.
        """

    def pool_flops(self, frames: int, tokens: int, dense: bool) -> float:
        """Operations of pooling; ``dense``: as the tower itself does it."""
        return 0.0

    # What all of them share.

    @property
    def layers(self) -> Any:
        return self.model.encoder.layers

    @property
    def patch(self) -> int:
        """P."""
        return int(self.model.config.patch_size)

    @property
    def side(self) -> int:
        """Of the picture in pixels."""
        return int(self.model.config.image_size)

    @property
    def covered(self) -> int:
        """Of the picture's side, what whole patches cover: a convolution drops the rest."""
        return self.side // self.patch * self.patch

    @property
    def cells(self) -> int:
        """N."""
        return (self.side // self.patch) ** 2

    @property
    def weight(self) -> Tensor:
        """The weight that pixels meet first: its dtype and device are those of the tower."""
        weight: Tensor = self.model.embeddings.patch_embedding.weight
        return weight

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        """Patches ``[K, C * P * P]`` at cells ``[K]`` of the frame's N, as ``[K, D]``."""
        convolution = self.model.embeddings.patch_embedding
        # Kernel and stride are one patch: a linear layer on its pixels.
        patches = nn.functional.linear(
            rows.to(self.weight.dtype), self.weight.flatten(1), convolution.bias
        )
        return self.enter(patches + self.model.embeddings.position_embedding(cell + self.prefix))

    def run(
        self, rows: Tensor, cell: Tensor, segments: Segments, attend: Attend
    ) -> Iterator[Tensor]:
        """The packed sequence as it enters the first layer and as it leaves each, ``[R, D]``."""
        x = segments.interleave(self.embed(rows, cell), self.prefix_tokens())
        yield x
        for i, layer in enumerate(self.layers):
            x = x + self._attention(layer.self_attn, layer.layer_norm1(x), i, attend)
            x = x + layer.mlp(layer.layer_norm2(x))
            yield x

    def _attention(self, module: Any, x: Tensor, layer: int, attend: Attend) -> Tensor:
        heads = (-1, module.head_dim)
        projected = (module.q_proj(x), module.k_proj(x), module.v_proj(x))
        query, key, value = (y.unflatten(1, heads) for y in projected)  # [R, H, d]
        return module.out_proj(attend(layer, query, key, value, module.scale).flatten(1))

    def check_mode(self) -> None:
        """Raises where training would need what packing leaves out."""
        for layer in self.layers:
            attention = layer.self_attn
            if attention.training and attention.dropout > 0:
                raise ValueError(
                    f"tower: it is in training mode with attention dropout {attention.dropout}, "
                    "which is not applied to packed tokens; call eval(), or set dropout to 0"
                )
            if layer.training and getattr(layer, "gradient_checkpointing", False):
                raise ValueError(
                    "tower: it is in training mode with gradient checkpointing, which is not "
                    "applied to packed tokens; call eval(), or switch it off"
                )

    def check_dtype(self) -> None:
        """Raises if the weights are not of one dtype on one device."""
        kinds = {(p.dtype, p.device) for p in self.model.parameters() if p.is_floating_point()}
        if len(kinds) > 1:
            listed = ", ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
            raise ValueError(f"tower: expected weights of one dtype on one device, got {listed}")

    def _check_patches(self) -> None:
        config, convolution = self.model.config, self.model.embeddings.patch_embedding
        if not isinstance(config.image_size, int) or not isinstance(config.patch_size, int):
            raise ValueError(
                "tower: expected image_size and patch_size of one number each, got "
                f"{config.image_size} and {config.patch_size}"
            )
        if self.covered == 0:
            raise ValueError(
                f"tower: image_size={self.side} holds no whole patch of {self.patch} pixels"
            )
        if list(self.weight.shape[1:]) != [3, self.patch, self.patch]:
            raise ValueError(
                f"tower: expected a patch embedding of 3 channels and {self.patch} pixels a side, "
                f"got a weight of {list(self.weight.shape)}"
            )
        if tuple(convolution.stride) != (self.patch, self.patch) or (
            convolution.padding not in ("valid", (0, 0), 0)
        ):
            raise ValueError(
                "tower: expected patches that neither overlap nor are padded, got "
                f"stride={convolution.stride}, padding={convolution.padding}"
            )
        positions = self.model.embeddings.position_embedding.weight.shape[0]
        if positions != self.cells + self.prefix:
            raise ValueError(
                f"tower: expected {self.cells + self.prefix} position embeddings, got {positions}"
            )

    def _part(self, path: str) -> None:
        part: Any = self.model
        for name in path.split("."):
            part = part[int(name)] if name.isdigit() else getattr(part, name, None)
            if part is None:
                raise TypeError(
                    f"tower: a {type(self.model).__name__} without {path} is not what gated() "
                    f"knows; it needs {', '.join((*self.parts, *_PARTS))} and layers with "
                    f"{', '.join(_LAYER_PARTS)}"
                )


_PARTS = (
    "config.image_size",
    "config.patch_size",
    "embeddings.patch_embedding.weight",
    "embeddings.position_embedding.weight",
    "encoder.layers",
)
_LAYER_PARTS = (
    "layer_norm1",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.out_proj",
    "self_attn.head_dim",
    "self_attn.scale",
    "layer_norm2",
    "mlp",
)
