"""Exchange on a GPU: some keys of a finished softmax are replaced.

The running sums are updated in place (``total_new = total - sum_old + sum_new``, and the numerator
in the same way). One program writes each token, in a fixed order, so that the result is the same in
every run. Definition: ``reference/exchange.py``.

Letters: M tokens, n of them that exchange keys, G groups, c exchanged keys, r rows, H heads, d
features of a head.
"""

import torch
from torch import Tensor

from patchgate._check import token_ops as _token_op_checks
from patchgate.kernels import attention_tiles
from patchgate.kernels.exchange_kernel import distance_kernel, exchange_kernel
from patchgate.kernels.launch import Launch, Variant, check_devices, meta

_BLOCKS = {torch.float32: 32, torch.float64: 16}  # tokens of a tile, which stay in registers
_DISTANCES = 128  # tokens of a program of the second kernel


def exchange(
    weighted: Tensor,  # [M, H, d], changed in place
    total: Tensor,  # [M, H], changed in place
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
) -> Tensor:  # [n]
    """Does what ``patchgate.reference.exchange`` does, for at most 256 features a head.

    It never synchronises, and so cannot check the integers. If a token or row does not exist, its
    distance is NaN and nothing is written for it. If an exchanged key does not exist, its group's
    denominators become NaN. A token that is named twice gets one of both results.

    Raises:
        TypeError: dtypes that do not fit.
        ValueError: shapes or devices that do not fit.
    """
    _token_op_checks.exchange(
        weighted, total, shift, reference, token, row, cu_tokens, query, key, value, changed,
        weight, cu_changed, reach,
    )  # fmt: skip
    flat = {
        "total": total, "shift": shift, "reference": reference, "token": token, "row": row,
        "cu_tokens": cu_tokens, "changed": changed, "weight": weight, "cu_changed": cu_changed,
        "reach": reach,
    }  # fmt: skip
    check_devices("exchange", weighted, query=query, key=key, value=value, **flat)
    attention_tiles.check_contiguous(weighted=weighted, **flat)
    query, key, value = (
        attention_tiles.adjacent(name, x)
        for name, x in (("query", query), ("key", key), ("value", value))
    )
    groups = len(cu_tokens) - 1
    (_, heads, _), n = weighted.shape, len(token)
    squares, distance = weighted.new_empty((heads, n)), weighted.new_empty(n)
    first, second = _launches(
        weighted, total, shift, reference, token, row, cu_tokens, query, key, value, changed,
        weight, cu_changed, reach, scale, squares, distance,
    )  # fmt: skip
    if n:
        first.run((attention_tiles.tiles(n, groups, _BLOCKS[weighted.dtype]) * heads,), weighted)
        second.run((-(-n // _DISTANCES),), weighted)
    return distance


def _launches(
    weighted: Tensor,
    total: Tensor,
    shift: Tensor,
    reference: Tensor,
    token: Tensor,
    row: Tensor,
    cu_tokens: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    changed: Tensor,
    weight: Tensor,
    cu_changed: Tensor,
    reach: Tensor,
    scale: float,
    squares: Tensor,  # [H, n]
    distance: Tensor,  # [n]
) -> tuple[Launch, Launch]:
    """Returns the kernels and their arguments."""
    (m, heads, width), n = weighted.shape, len(token)
    main, tail = attention_tiles.columns(width)
    unit, strides = attention_tiles.strides(query, key, value)
    arguments = (
        weighted, total, shift, reference, token, row, cu_tokens, query, key, value, changed,
        weight, cu_changed, reach, squares, m, n, len(query), len(key), len(changed),
        len(cu_tokens) - 1, heads, *strides,
    )  # fmt: skip
    options = {
        "UNIT": unit,
        "SCALE": scale,
        "PRECISION": attention_tiles.precision(weighted.dtype),
        "WIDTH": width,
        "MAIN": main,
        "TAIL": tail,
        "BLOCK": _BLOCKS[weighted.dtype],
        "BLOCK_KEYS": 16,
        "num_warps": 8 if main + tail <= 80 else 4,  # so that nothing spills
        "num_stages": 2,
    }
    second = Launch(distance_kernel, (squares, distance, n, heads), {"BLOCK": _DISTANCES})
    return Launch(exchange_kernel, arguments, options), second


def variants() -> list[Variant]:
    """A frame of so400m (72), ViT-B (64) and ViT-H (80) of which a tenth has changed."""
    made = [
        ("float32, 64 features", _variant(64, torch.float32)),
        ("float32, 72 features", _variant(72, torch.float32)),
        ("float32, 80 features", _variant(80, torch.float32)),
        ("float32, 128 features", _variant(128, torch.float32)),
        ("float64, 64 features", _variant(64, torch.float64)),
    ]
    sums = [Variant(name, both[0], name.startswith("float32")) for name, both in made]
    return [*sums, Variant("distances, float32", made[0][1][1])]


def _variant(width: int, dtype: torch.dtype) -> tuple[Launch, Launch]:
    """16 heads, 729 tokens of which 656 exchange 146 keys; fused projections."""
    m, heads, n, c = 729, 16, 656, 146
    query, key, value = meta(2 * m, 3, heads, width, dtype=dtype).unbind(1)
    sums, numbers = meta(m, heads, width, dtype=dtype), meta(m, heads, dtype=dtype)
    index, ends = meta(n, dtype=torch.int64), meta(2, dtype=torch.int32)
    return _launches(
        sums, numbers, numbers, sums, index, index, ends, query, key, value,
        meta(c, dtype=torch.int64), meta(c, dtype=dtype), ends,
        meta(heads, dtype=dtype), width**-0.5, meta(heads, n, dtype=dtype), meta(n, dtype=dtype),
    )  # fmt: skip
