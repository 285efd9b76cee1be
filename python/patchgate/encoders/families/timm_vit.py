"""timm's plain vision transformers on kept cells.

Letters: T frames, K kept patches, R packed rows, N patches of a frame, H heads, d features of a
head, D features, H W pixels where they are a picture's.
"""

from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from patchgate.encoders.families import structure
from patchgate.encoders.tower import Tower

_PARTS = (
    "patch_embed.proj",
    "patch_embed.norm",
    "patch_embed.img_size",
    "num_prefix_tokens",
    "norm_pre",
    "blocks.0",
    "norm",
    "forward_head",
    "_pos_embed",
)
_BLOCK_CALLS = (
    "norm1",
    "attn.qkv",
    "attn.q_norm",
    "attn.k_norm",
    "attn.proj",
    "ls1",
    "norm2",
    "mlp",
    "ls2",
)
_BLOCK_PARTS = (*_BLOCK_CALLS, "attn.num_heads", "attn.scale")
HEAD_CALLS = ("attn_pool", "fc_norm", "head_drop", "head", "head_dist")  # by forward_head
_BLOCK = ("norm1", "attn", "ls1", "drop_path1", "norm2", "mlp", "ls2", "drop_path2")
_ATTENTION = ("qkv", "q_norm", "k_norm", "attn_drop", "norm", "gate", "proj", "proj_drop")


class TimmVit(Tower):
    """``timm.models.VisionTransformer`` with plain blocks.

    It may have a class token, registers, DeiT's distillation token, norms of queries and keys,
    scaled residuals, a norm before the first block, and any pooling.

    The output is that of timm's ``forward_head``. ``forward_features`` gives the features; so does
    the call itself of a model made with ``num_classes=0, global_pool=""``.
    """

    names = ("VisionTransformer",)
    # Classes of blocks and of their attention whose parts it knows how to combine.
    kinds: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = (("Block",), ("Attention",))
    block_parts: ClassVar[tuple[str, ...]] = _BLOCK_PARTS
    block_children: ClassVar[tuple[str, ...]] = _BLOCK
    attention_children: ClassVar[tuple[str, ...]] = _ATTENTION
    called = (
        "patch_embed.proj",
        "patch_embed.norm",
        "norm_pre",
        *(f"blocks.*.{part}" for part in (*_BLOCK_CALLS, "attn.norm", "attn.gate")),
        "norm",
        *HEAD_CALLS,
    )
    dense = ("forward_intermediates", "get_intermediate_layers")
    calls: ClassVar[dict[str, dict[str, Any]]] = {"forward_features": {"features_only": True}}

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._size: tuple[int, int] | None = None
        self._features_only = False
        _check_methods(type(model), self.names[0])
        structure.check_parts(model, _PARTS)
        of_block, of_attention = self.kinds
        for i in range(self.depth):
            structure.check_kind(model, f"blocks.{i}", of_block)
            structure.check_kind(model, f"blocks.{i}.attn", of_attention)
            structure.check_parts(model, self.block_parts, f"blocks.{i}")
            structure.check_children(model, f"blocks.{i}", self.block_children)
            structure.check_children(model, f"blocks.{i}.attn", self.attention_children)
        structure.check_children(model, "patch_embed", ("proj", "norm"))
        structure.check_patches(self.projection, self.patch)
        if getattr(self.model.patch_embed, "dynamic_img_pad", False):
            raise ValueError(
                "tower: with dynamic_img_pad=True its patches reach beyond the picture; make it "
                "with dynamic_img_pad=False"
            )
        self.prefix = int(self.model.num_prefix_tokens)

    @property
    def patch(self) -> int:
        return structure.side_of(self.model.patch_embed.patch_size, "patch_size")

    @property
    def size(self) -> tuple[int, int]:
        height, width = self._size or self.model.patch_embed.img_size
        return int(height), int(width)

    def sized(self, height: int, width: int) -> Self:
        """Returns the tower for pictures of another size, which needs ``dynamic_img_size=True``.

        Raises:
            ValueError: the model takes pictures of one size only, or the size is not a whole number
                of patches.
        """
        whole = height % self.patch == 0 and width % self.patch == 0 and min(height, width) > 0
        if (height, width) != self.size and not (self._dynamic and whole):
            what = f"multiples of {self.patch}" if self._dynamic else f"{self.size}"
            raise ValueError(
                f"pixel_values: the tower takes pictures of {what}, got {height} x {width}"
                + ("" if self._dynamic else "; timm's dynamic_img_size=True takes others")
            )
        tower = self.copied()
        tower._size = height, width
        return tower

    @property
    def projection(self) -> Any:
        return self.model.patch_embed.proj

    @property
    def depth(self) -> int:
        return len(self.model.blocks)

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        patches = self.model.patch_embed.norm(self.embedded(rows))
        return self.model.norm_pre(patches + self._origin()[self.prefix + cell])

    def prefix_tokens(self) -> Tensor:
        return self.model.norm_pre(self._origin()[: self.prefix])

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        block = self.model.blocks[layer]
        joint = block.attn.qkv(block.norm1(x))
        query, key, value = joint.unflatten(1, (3, block.attn.num_heads, -1)).unbind(1)
        return block.attn.q_norm(query), block.attn.k_norm(key), value

    def scale(self, layer: int) -> float:
        return float(self.model.blocks[layer].attn.scale)

    def projections(self, layer: int) -> tuple[nn.Module | Tensor, ...]:
        """Without the norm and the gate that some models have before them: neither is linear, and a
        gate only makes less of what the heads add.
        """
        block = self.model.blocks[layer]
        return block.attn.proj, block.ls1

    def attended(self, layer: int, x: Tensor, sums: Tensor) -> Tensor:
        """Computes what enters the output projection from the heads' sums ``[R, H, d]``."""
        block = self.model.blocks[layer]
        attention = block.attn
        if getattr(attention, "norm", None) is not None:  # timm has had it since 1.0
            sums = attention.norm(sums.flatten(1))
        if getattr(attention, "gate", None) is not None:
            sums = sums.flatten(1) * attention.gate(block.norm1(x)).sigmoid()
        return sums

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        block = self.model.blocks[layer]
        x = x + self.added(layer, self.attended(layer, x, attended))
        return x + block.ls2(block.mlp(block.norm2(x)))

    def layer_flops(self, layer: int) -> float:
        return structure.linear_flops(self.model.blocks[layer])

    def leave(self, rows: Tensor) -> Tensor:
        rows = self.model.norm(rows)
        return rows if self.pools else self.model.forward_head(rows[None])[0]

    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
        if not self.pools:
            return None
        # One frame at a time: a batch would copy the dense states of all of them.
        return torch.cat([self.model.forward_head(dense[t : t + 1]) for t in frames])

    def pool_flops(self, frames: int, tokens: int, dense: bool) -> float:
        heads = (getattr(self.model, name, None) for name in ("head", "head_dist"))
        head = sum(structure.linear_flops(each) for each in heads if each is not None)
        pool = getattr(self.model, "attn_pool", None)
        if not self.pools:
            return tokens * head
        if pool is None:
            return frames * head
        whole = getattr(self.model, "pool_include_prefix", True)  # Eva's always does
        n = self.cells + (self.prefix if whole else 0)
        d = len(self.weight)
        if not hasattr(pool, "kv"):  # "prr": attention of all tokens to all, without weights
            return frames * (head + 4.0 * n * n * d)
        linear = structure.linear_flops(pool) + (n - 1) * structure.linear_flops(pool.kv)
        return frames * (head + linear + 4.0 * n * d)

    def opened(self, pixel_values: Tensor, options: dict[str, Any]) -> tuple[Self, Tensor]:
        """Does what ``Tower.opened`` does, for ``forward_features``, too.

        Args:
            pixel_values: ``[T, 3, H, W]``.
            options: the call's other arguments. ``features_only`` is removed: with True, the output
                is the features ``[T, prefix + N, D]`` instead of what ``forward_head`` makes.

        Raises:
            ValueError: the model has a head for each token, and its features are not kept.
        """
        tower: Self
        tower, pixel_values = super().opened(pixel_values, options)  # type: ignore[assignment]
        if not options.pop("features_only", False):
            return tower, pixel_values
        head = (getattr(self.model, name, None) for name in ("fc_norm", "head"))
        if not self.pools and not all(each is None or type(each) is nn.Identity for each in head):
            raise ValueError(
                "forward_features: this model has a head for each token, whose output a gated "
                "tower keeps instead of the features; make it with num_classes=0"
            )
        if tower is not self:  # else there are no pictures, and an error follows
            tower._features_only = True
        return tower, pixel_values

    def output(
        self, features: Tensor, pooled: Tensor | None, states: Any, last: Tensor | None = None
    ) -> Any:
        if states is not None:
            raise TypeError(
                "output_hidden_states: a timm tower returns one tensor; call "
                "forward_intermediates of the original model, .tower"
            )
        return features if pooled is None or self._features_only else pooled

    def check_mode(self) -> None:
        structure.check_checkpointing(self.model, "grad_checkpointing")
        if self.model.training and getattr(self.model, "distilled_training", False):
            raise ValueError("tower: it is in distilled training, with two outputs; call eval()")
        for name, module in self.model.named_modules():
            for what in ("p", "drop_prob", "prob"):  # dropout, drop path, patch dropout
                share = getattr(module, what, 0.0)
                if isinstance(share, float | int):
                    structure.check_off(module, f"{type(module).__name__} ({name}) of", share)

    @property
    def pools(self) -> bool:
        """Whether the output is one row a frame; otherwise the head is applied to each token."""
        return bool(self.model.global_pool) or getattr(self.model, "attn_pool", None) is not None

    @property
    def pools_prefix(self) -> bool:
        return self.model.global_pool == "token" and getattr(self.model, "attn_pool", None) is None

    @property
    def _dynamic(self) -> bool:
        return bool(getattr(self.model, "dynamic_img_size", False))

    def _origin(self) -> Tensor:
        """Returns a frame's tokens before the first block if all patches were 0.

        Returns:
            ``[prefix + N, D]``: the prefix tokens, and the position of each cell.
        """
        zeros = self.weight.new_zeros((1, *self.shape, len(self.weight)))
        return self.model._pos_embed(zeros if self._dynamic else zeros.flatten(1, 2))[0]


def _check_methods(kind: type, name: str) -> None:
    """Raises a ``TypeError`` for another library's class, or a subclass with its own forward."""
    for base in kind.__mro__:
        if base.__name__ == name and base.__module__.startswith("timm."):
            break
    else:
        raise TypeError(
            f"tower: {kind.__name__} of {kind.__module__} is not supported; timm's class of this "
            "name is"
        )
    for method in ("forward", "forward_features"):
        if getattr(kind, method) is not getattr(base, method):
            raise TypeError(f"tower: {kind.__name__} has a {method} of its own, not timm's")
