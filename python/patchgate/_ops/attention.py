"""Completes the ops of residual attention with fake kernels and gradients.

``_ops`` imports it when the library, which has the schemas, is loaded.

Letters: R queries, A rows of keys and values, G groups, L keys of all groups, H heads, d features
of a head; n queries and m keys of one group; T frames, M tokens of a frame.
"""

from typing import Any

import torch
from torch import Tensor

from patchgate._check import token_ops as _checks
from patchgate._check.token_ops import wide as _wide
from patchgate.reference.activate import activate as _activate_reference

residual_attention = torch.ops.patchgate.residual_attention.default
residual_attention_backward = torch.ops.patchgate.residual_attention_backward.default
exchange = torch.ops.patchgate.exchange.default
activate = torch.ops.patchgate.activate.default


@torch.library.register_fake("patchgate::residual_attention")
def _fake(
    query: Tensor,  # [R, H, d]
    key: Tensor,  # [A, H, d]
    value: Tensor,  # [A, H, d]
    cu_queries: Tensor,  # [G + 1]
    key_index: Tensor,  # [L]
    cu_keys: Tensor,  # [G + 1]
    bias: Tensor | None,  # [L]
    scale: float,
) -> tuple[Tensor, Tensor]:
    _checks.residual_attention(query, key, value, cu_queries, key_index, cu_keys, bias)
    lse = query.new_empty(query.shape[:2], dtype=_wide(query.dtype))
    return query.new_empty(query.shape), lse


@torch.library.register_fake("patchgate::residual_attention_level")
def _level_fake(*inputs: Any) -> tuple[Tensor, Tensor]:
    return _fake(*inputs[:-1])


@torch.library.register_fake("patchgate::exchange")
def _exchange_fake(
    weighted: Tensor,  # [M, H, d]
    total: Tensor,  # [M, H]
    shift: Tensor,  # [M, H]
    reference: Tensor,  # [M, H, d]
    token: Tensor,  # [n]
    row: Tensor,  # [n]
    cu_tokens: Tensor,  # [G + 1]
    query: Tensor,  # [r, H, d]
    key: Tensor,  # [r, H, d]
    value: Tensor,  # [r, H, d]
    changed: Tensor,  # [c]
    weight: Tensor,  # [c]
    cu_changed: Tensor,  # [G + 1]
    reach: Tensor,  # [H]
    scale: float,
) -> Tensor:
    _checks.exchange(
        weighted, total, shift, reference, token, row, cu_tokens, query, key, value, changed,
        weight, cu_changed, reach,
    )  # fmt: skip
    return weighted.new_empty(token.shape)


@torch.library.register_fake("patchgate::exchange_level")
def _exchange_level_fake(*inputs: Any) -> Tensor:
    return _exchange_fake(*inputs[:-1])


@torch.library.register_fake("patchgate::activate")
def _activate_fake(
    out: Tensor,  # [T * M, H, d]
    active: Tensor,  # [T, M]
    differs: Tensor,  # [T]
    parent: Tensor,  # [T, M]
    reach: Tensor,  # [H]
    bound: Tensor,  # [T, M]
    room: int,
) -> tuple[Tensor, Tensor]:
    _checks.activate(out, active, differs, parent, reach, bound, room)
    return active.new_empty(active.shape), parent.new_empty((1,))


@torch.library.impl("patchgate::activate", "CompositeExplicitAutograd")
def _activate(
    out: Tensor,  # [T * M, H, d]
    active: Tensor,  # [T, M]
    differs: Tensor,  # [T]
    parent: Tensor,  # [T, M]
    reach: Tensor,  # [H]
    bound: Tensor,  # [T, M]
    room: int,
) -> tuple[Tensor, Tensor]:
    """Runs the definition: a few torch calls a frame, which a CPU kernel would not beat."""
    _checks.activate(out, active, differs, parent, reach, bound, room)
    _checks.check_rows("parent", parent[1:], parent.numel(), "out")
    return _activate_reference(out, active, differs, parent, reach, bound, room)


@torch.library.register_fake("patchgate::residual_attention_backward")
def _backward_fake(
    grad_out: Tensor,  # [R, H, d]
    grad_lse: Tensor,  # [R, H]
    query: Tensor,  # [R, H, d]
    key: Tensor,  # [A, H, d]
    value: Tensor,  # [A, H, d]
    cu_queries: Tensor,  # [G + 1]
    key_index: Tensor,  # [L]
    cu_keys: Tensor,  # [G + 1]
    bias: Tensor | None,  # [L]
    scale: float,
    out: Tensor,  # [R, H, d]
    lse: Tensor,  # [R, H]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _checks.residual_attention(query, key, value, cu_queries, key_index, cu_keys, bias)
    _checks.residual_attention_backward(grad_out, grad_lse, query, out, lse)
    bias_shape = (0,) if bias is None else bias.shape
    return (
        query.new_empty(query.shape),
        key.new_empty(key.shape),
        value.new_empty(value.shape),
        query.new_empty(bias_shape, dtype=torch.float32),
    )


@torch.library.impl("patchgate::residual_attention_backward", "CompositeExplicitAutograd")
def _backward(
    grad_out: Tensor,  # [R, H, d]
    grad_lse: Tensor,  # [R, H]
    query: Tensor,  # [R, H, d]
    key: Tensor,  # [A, H, d]
    value: Tensor,  # [A, H, d]
    cu_queries: Tensor,  # [G + 1]
    key_index: Tensor,  # [L]
    cu_keys: Tensor,  # [G + 1]
    bias: Tensor | None,  # [L]
    scale: float,
    out: Tensor,  # [R, H, d]
    lse: Tensor,  # [R, H]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Group by group, from the weights that the log-sum-exp gives back (arXiv 2205.14135).

    Reads the groups' ends on the host: one synchronisation.
    """
    _checks.residual_attention(query, key, value, cu_queries, key_index, cu_keys, bias)
    _checks.residual_attention_backward(grad_out, grad_lse, query, out, lse)
    _checks.check_ends("cu_queries", cu_queries, len(query))
    _checks.check_ends("cu_keys", cu_keys, len(key_index))
    _checks.check_rows("key_index", key_index[cu_keys[0] : cu_keys[-1]], len(key), "key")
    wide = _wide(query.dtype)
    grad_query, grad_key, grad_value = (
        x.new_zeros(x.shape, dtype=wide) for x in (query, key, value)
    )
    grad_bias = query.new_zeros((0,) if bias is None else bias.shape, dtype=wide)
    # What a score's gradient loses because the weights of a query sum to 1.
    mean = (grad_out.to(wide) * out.to(wide)).sum(-1) - grad_lse  # [R, H]
    ends = torch.stack([cu_queries, cu_keys]).tolist()
    for q0, q1, k0, k1 in zip(ends[0], ends[0][1:], ends[1], ends[1][1:], strict=False):
        if q0 == q1 or k0 == k1:
            continue
        rows, queries, keys = key_index[k0:k1], slice(q0, q1), slice(k0, k1)
        q, grad = query[queries].to(wide), grad_out[queries].to(wide)  # [n, H, d]
        k, v = key[rows].to(wide), value[rows].to(wide)  # [m, H, d]
        scores = torch.einsum("nhd,mhd->hnm", q, k) * scale
        if bias is not None:
            scores = scores + bias[keys]
        sums = lse[queries].T[..., None]  # [H, n, 1]
        weights = (scores - sums).exp().masked_fill(sums == -torch.inf, 0)
        slope = torch.einsum("nhd,mhd->hnm", grad, v) - mean[queries].T[..., None]
        slope = weights * slope  # the gradient of the scores, [H, n, m]
        grad_query[queries] = torch.einsum("hnm,mhd->nhd", slope, k) * scale
        grad_key.index_add_(0, rows, torch.einsum("hnm,nhd->mhd", slope, q) * scale)
        grad_value.index_add_(0, rows, torch.einsum("hnm,nhd->mhd", weights, grad))
        if bias is not None:
            grad_bias[keys] = slope.sum((0, 1))
    dtype = query.dtype
    return grad_query.to(dtype), grad_key.to(dtype), grad_value.to(dtype), grad_bias.float()


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, cu_queries, key_index, cu_keys, bias, ctx.scale = inputs
    ctx.save_for_backward(query, key, value, cu_queries, key_index, cu_keys, bias, *output)


def _gradients(ctx: Any, grad_out: Tensor, grad_lse: Tensor) -> tuple[Tensor | None, ...]:
    *inputs, out, lse = ctx.saved_tensors
    query, key, value, bias = residual_attention_backward(
        grad_out, grad_lse, *inputs, ctx.scale, out, lse
    )
    return query, key, value, None, None, None, bias if inputs[-1] is not None else None, None


def _no_second(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError(
        "residual_attention: gradients of gradients are not available; "
        "patchgate.reference.residual_attention has them"
    )


torch.library.register_autograd("patchgate::residual_attention", _gradients, setup_context=_setup)
torch.library.register_autograd("patchgate::residual_attention_backward", _no_second)
