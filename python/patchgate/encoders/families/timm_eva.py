"""timm's Eva on kept cells: EVA, EVA-02, DINOv3, and others whose blocks rotate queries and keys.

Letters: R packed rows, N patches of a frame, H heads, d features of a head, D features.
"""

from typing import Any

import torch
from torch import Tensor, nn

from patchgate.encoders.adapted import constant_when_compiled
from patchgate.encoders.families.timm_vit import HEAD_CALLS, TimmVit

_BLOCK = ("norm1", "attn", "drop_path1", "norm2", "mlp", "drop_path2")
_PROJECTIONS = ("qkv", "q_proj", "k_proj", "v_proj", "proj")
_BETWEEN = ("q_norm", "k_norm", "norm", "gate")  # not in every version of timm
_MOST_SHAPES = 16  # whose angles are kept
_AUGMENTED = ("shift_coords", "jitter_coords", "rescale_coords")


class TimmEva(TimmVit):
    """``timm.models.Eva`` with norms before attention and MLP.

    Positions may be learned, rotate queries and keys, or both. The model's own ``rope`` module
    gives the angles.
    """

    names = ("Eva",)
    kinds = (("EvaBlock",), ("EvaAttention", "AttentionRope"))
    block_parts = ("norm1", "attn.proj", "attn.num_heads", "attn.scale", "norm2", "mlp")
    block_children = _BLOCK
    attention_children = (*_PROJECTIONS, *_BETWEEN, "attn_drop", "proj_drop")
    called = (
        "patch_embed.proj",
        "patch_embed.norm",
        "norm_pre",
        *(f"blocks.*.{part}" for part in ("norm1", "norm2", "mlp")),
        *(f"blocks.*.attn.{part}" for part in (*_PROJECTIONS, *_BETWEEN)),
        "norm",
        *HEAD_CALLS,
    )

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._angles = _Angles(model)  # shared by towers of all sizes

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        block = self.model.blocks[layer]
        attention = block.attn
        query, key, value = _projected(attention, block.norm1(x))
        query, key = _normed(attention, "q_norm", query), _normed(attention, "k_norm", key)
        if self.model.rope is not None:
            half = bool(getattr(attention, "rotate_half", False))
            sin, cos = self._turns(layer, cell).chunk(2, -1)  # [R, 1 or H, d] each
            query, key = (_rotated(each, sin, cos, half).to(value.dtype) for each in (query, key))
        groups = getattr(attention, "num_kv_groups", 1)
        if groups > 1:
            key, value = (each.repeat_interleave(groups, 1) for each in (key, value))
        return query, key, value

    def projections(self, layer: int) -> tuple[nn.Module | Tensor, ...]:
        block = self.model.blocks[layer]
        return (block.attn.proj,) if block.gamma_1 is None else (block.attn.proj, block.gamma_1)

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        block = self.model.blocks[layer]
        x = x + self.added(layer, self.attended(layer, x, attended))
        more = block.mlp(block.norm2(x))
        return x + (more if block.gamma_2 is None else block.gamma_2 * more)

    def check_mode(self) -> None:
        super().check_mode()
        rope = self.model.rope
        for name in _AUGMENTED:
            if rope is not None and rope.training and getattr(rope, name, None) is not None:
                raise ValueError(
                    f"tower: it is in training mode with rope_{name}, which moves the positions of "
                    "all patches at random; call eval(), or set it to None"
                )

    def _origin(self) -> Tensor:
        """Does what ``TimmVit._origin`` does without the model's ``_pos_embed``, which also makes
        angles, by some of its modules on the host.
        """
        model, first = self.model, self.weight.new_empty((0, len(self.weight)))
        for token in (model.cls_token, model.reg_token):
            first = first if token is None else torch.cat([first, token[0]])
        positions = self._learned()
        if positions is not None and model.no_embed_class:
            return torch.cat([first, positions])
        zeros = self.weight.new_zeros((self.cells, len(self.weight)))
        tokens = torch.cat([first, zeros])
        return tokens if positions is None else tokens + positions

    def _learned(self) -> Tensor | None:
        """Returns the learned positions for this grid, with those of prefix tokens, if any."""
        model = self.model
        if model.pos_embed is None:
            return None
        trained: Tensor = model.pos_embed
        if self._dynamic:
            from timm.layers import resample_abs_pos_embed  # the model is timm's, so it is there

            trained = resample_abs_pos_embed(
                trained,
                new_size=list(self.shape),
                old_size=list(model.patch_embed.grid_size),
                num_prefix_tokens=0 if model.no_embed_class else self.prefix,
            )
        return trained[0]

    def _turns(self, layer: int, cell: Tensor) -> Tensor:
        """Returns sines and cosines of each row's angles, ``[R, 1 or H, 2 * d]``.

        Prefix tokens are not rotated: sine 0, cosine 1.
        """
        if getattr(self.model, "rope_mixed", False):
            # Learned for each layer and head: made anew, so that gradients reach them.
            every = self._angles.made(self.shape)[layer].transpose(0, 1)  # [N, H, 2 * d]
        else:
            self._angles.keep(*self.shape)
            every = self._angles.known[self.shape][:, None]  # [N, 1, 2 * d]
        rows = every[cell.clamp(min=0)]
        unmoved = torch.ones_like(rows)
        unmoved[..., : rows.shape[-1] // 2] = 0
        return torch.where((cell < 0)[:, None, None], unmoved, rows)


class _Angles:
    """What the model's ``rope`` gives for some sizes of pictures.

    The model makes the angles once for all layers, by some modules on the host. Here they are made
    once for a size of pictures, and in a compiled graph they are a constant.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.known: dict[tuple[int, int], Tensor] = {}  # by h and w: [N, 2 * d]
        self._of: object = None  # what they were made of

    @constant_when_compiled
    def keep(self, h: int, w: int) -> bool:
        """Computes the angles of a grid unless they are known already; True."""
        state = [
            (name, tensor.data_ptr(), tensor.dtype, tensor.device)
            for name, tensor in self._model.rope.named_buffers()
        ]
        if self._of != state or len(self.known) >= _MOST_SHAPES:
            self.known, self._of = {}, state
        if (h, w) not in self.known:
            # The model leaves the device of its grid to torch's default.
            with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
                self.known[h, w] = self.made((h, w))
        return True

    def made(self, shape: tuple[int, int]) -> Tensor:
        """Returns what the model's rope gives, ``[N, 2 * d]``, or one for each layer and head,
        ``[depth, H, N, 2 * d]``.
        """
        rope = self._model.rope
        fixed = not self._model.dynamic_img_size and hasattr(rope, "feat_shape")
        angles: Tensor = rope.get_embed() if fixed else rope.get_embed(shape=shape)
        return angles


def _projected(attention: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Computes queries, keys and values ``[R, H, d]`` as the attention does."""
    heads = attention.num_heads
    if attention.qkv is None:
        query = attention.q_proj(x).unflatten(1, (heads, -1))
        split = (-1, query.shape[2])  # there may be fewer heads of keys and values
        return (
            query,
            attention.k_proj(x).unflatten(1, split),
            attention.v_proj(x).unflatten(1, split),
        )
    if getattr(attention, "q_bias", None) is None:
        joint = attention.qkv(x)
    else:  # keys have no bias
        bias = torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
        if attention.qkv_bias_separate:
            joint = attention.qkv(x) + bias
        else:
            joint = nn.functional.linear(x, attention.qkv.weight, bias)
    query, key, value = joint.unflatten(1, (3, heads, -1)).unbind(1)
    return query, key, value


def _normed(attention: Any, name: str, heads: Tensor) -> Tensor:
    norm = getattr(attention, name, None)
    return heads if norm is None else norm(heads)


def _rotated(x: Tensor, sin: Tensor, cos: Tensor, half: bool) -> Tensor:
    """Rotates ``[R, H, d]``: with ``half`` its first half with its second, else neighbours."""
    if half:
        first, second = x.chunk(2, -1)
        turned = torch.cat([-second, first], -1)
    else:
        turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * cos + turned * sin
