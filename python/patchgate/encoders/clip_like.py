"""The vision transformers of transformers that are built like CLIP's: ``encoder.layers`` of two
layer norms, four projections and an MLP, learned positions, a convolution that cuts patches.

Letters: K kept patches, R packed rows, H heads, d features of a head, D features, C channels,
P patch side.
"""

from typing import Any, ClassVar

from torch import Tensor, nn

from patchgate.encoders.tower import Tower

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


class ClipLike(Tower):
    """What CLIP's and SigLIP's towers share."""

    parts: ClassVar[tuple[str, ...]]  # attributes that the family's own code uses

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        for path in (*self.parts, *_PARTS):
            self._part(path)
        for name in _LAYER_PARTS:
            for i in range(self.depth):
                self._part(f"encoder.layers.{i}.{name}")
        self._check_patches()

    @property
    def patch(self) -> int:
        return int(self.model.config.patch_size)

    @property
    def side(self) -> int:
        return int(self.model.config.image_size)

    @property
    def weight(self) -> Tensor:
        weight: Tensor = self.model.embeddings.patch_embedding.weight
        return weight

    @property
    def depth(self) -> int:
        return len(self.model.encoder.layers)

    def enter(self, patches: Tensor) -> Tensor:
        """What becomes of embedded patches ``[K, D]`` before the first layer."""
        return patches

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        convolution = self.model.embeddings.patch_embedding
        # Kernel and stride are one patch: a linear layer on its pixels.
        patches = nn.functional.linear(
            rows.to(self.weight.dtype), self.weight.flatten(1), convolution.bias
        )
        return self.enter(patches + self.model.embeddings.position_embedding(cell + self.prefix))

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        block = self.model.encoder.layers[layer]
        x, attention = block.layer_norm1(x), block.self_attn
        heads = (-1, attention.head_dim)
        query, key, value = (
            project(x).unflatten(1, heads)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        return query, key, value

    def scale(self, layer: int) -> float:
        return float(self.model.encoder.layers[layer].self_attn.scale)

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        block = self.model.encoder.layers[layer]
        x = x + block.self_attn.out_proj(attended.flatten(1))
        return x + block.mlp(block.layer_norm2(x))

    def layer_flops(self, layer: int) -> float:
        d, wide = self.model.config.hidden_size, self.model.config.intermediate_size
        return 8.0 * d * d + 4.0 * d * wide  # q, k, v, out: 2 D D each; fc1, fc2: 2 D I each

    def check_mode(self) -> None:
        for layer in self.model.encoder.layers:
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
