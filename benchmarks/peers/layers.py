"""The layers of SigLIP and DINOv2 taken apart, for the peers that work inside a tower.

DINOv2's CLS is a token like the others; its LayerScale belongs to the output projection and to the
MLP. All of them attend by ``scaled_dot_product_attention``, as the dense tower does. Work is
counted as in ``patchgate.encoders.run.work``: a multiply and an add are two.

Letters: T frames, N tokens of a frame, H heads, d features of a head, D features, P patch side.
"""

from operator import attrgetter
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from peers.choice import Choice, numbered


class Encoded(NamedTuple):
    """What a tower makes of a clip with a peer inside it."""

    features: Tensor  # [T, N, D]: what every cell shows
    choice: Choice  # which tokens leave the tower
    flops: float  # of patch embedding and layers

    @property
    def tokens(self) -> int:
        """How many. Synchronises."""
        return self.choice.tokens

    @classmethod
    def of(cls, features: Tensor, flops: float) -> "Encoded":
        """Where as many tokens leave as enter."""
        return cls(features, Choice(numbered(features[..., 0])), flops)


class Layer:
    """One layer of a tower: its token-wise parts and its attention."""

    def __init__(self, block: Any) -> None:
        own = _part(block, "self_attn", "attention")
        self.norm1: nn.Module = _part(block, "layer_norm1", "norm1")
        self.norm2: nn.Module = _part(block, "layer_norm2", "norm2")
        self.to_query: nn.Linear = _part(own, "q_proj", "attention.query")
        self.to_key: nn.Linear = _part(own, "k_proj", "attention.key")
        self.to_value: nn.Linear = _part(own, "v_proj", "attention.value")
        project = _part(own, "out_proj", "o_proj", "output.dense")
        scales = [getattr(block, f"layer_scale{i}", nn.Identity()) for i in (1, 2)]
        self.project, self.mlp = (
            nn.Sequential(part, scale)
            for part, scale in zip((project, block.mlp), scales, strict=True)
        )
        self.scale: float = _part(own, "scale", "scaling", "attention.scaling")
        self._heads = (-1, _part(own, "head_dim", "attention.attention_head_size"))
        first = _part(block, "mlp.fc1")
        width, wide = first.in_features, first.out_features
        self.linear_flops = 2.0 * width * width  # of one of the four projections, per token
        self.mlp_flops = 4.0 * width * wide  # per token
        self.pair_flops = 4.0 * width  # per query and key: its score, its share of the sum

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """``[T, q, D]`` to keys and values ``[T, n, D]``; ``bias`` ``[T, n]``: added to scores."""
        q, k, v = (x.unflatten(2, self._heads).transpose(1, 2) for x in (query, key, value))
        mask = None if bias is None else bias[:, None, None].expand(-1, -1, q.shape[2], -1)
        out = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scale)
        return out.transpose(1, 2).flatten(2)


def layers(model: Any) -> list[Layer]:
    """The layers of a ``SiglipVisionModel`` or a ``Dinov2Model``, from the first on."""
    return [Layer(block) for block in _part(model, "encoder.layers", "encoder.layer")]


def embedded(model: Any, pixel_values: Tensor) -> tuple[Tensor, float]:
    """``[T, 3, H, W]`` as tokens before the first layer ``[T, N, D]``, and the work of it."""
    tokens = model.embeddings(pixel_values)
    cells = tokens.shape[1] - hasattr(model.embeddings, "cls_token")
    weight = _part(
        model.embeddings, "patch_embedding.weight", "patch_embeddings.projection.weight"
    )  # [D, 3, P, P]
    return tokens, 2.0 * weight.numel() * len(tokens) * cells


def layer_flops(blocks: list[Layer], tokens: Tensor) -> float:
    """Operations of all layers on all tokens ``[T, N, D]``."""
    frames, n = tokens.shape[:2]
    return frames * n * sum(4 * each.linear_flops + each.mlp_flops + n * each.pair_flops
                            for each in blocks)  # fmt: skip


def left(model: Any, tokens: Tensor) -> Tensor:
    """What leaves the tower of the last layer's tokens ``[..., D]``."""
    return _part(model, "post_layernorm", "layernorm")(tokens)


def dense(model: Any, pixel_values: Tensor) -> Encoded:
    """Nothing left out: the tower itself, with its work counted."""
    (x, flops), blocks = embedded(model, pixel_values), layers(model)
    for layer in blocks:
        y = layer.norm1(x)
        x = x + layer.project(layer.attend(layer.to_query(y), layer.to_key(y), layer.to_value(y)))
        x = x + layer.mlp(layer.norm2(x))
    return Encoded.of(left(model, x), flops + layer_flops(blocks, x))


def _part(module: Any, *paths: str) -> Any:
    """The first of these attributes that is there: models and versions name them differently."""
    for path in paths:
        try:
            return attrgetter(path)(module)
        except AttributeError:
            continue
    raise TypeError(
        f"{type(module).__name__}: expected a SiglipVisionModel's or a Dinov2Model's, "
        f"with {' or '.join(paths)}"
    )
