"""Finds the nearest of each token's candidates on the GPU; one program for each token.

Letters: K tokens, D features, Q queries, L entries of an index (here candidates).
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from patchgate._check import token_ops as _token_op_checks
from patchgate.kernels.launch import Launch, Variant, check_devices, meta

_PIECE = 512  # of a row


@triton.jit(do_not_specialize=["rows", "length"])
def _nearest(
    features,  # [K, D] float32
    query,  # [Q] int64
    candidate,  # [L] int64
    begin,  # [Q] int64
    end,  # [Q] int64
    nearest,  # [Q] int64
    distance,  # [Q] float32
    rows,  # K
    length,  # L
    width,  # D
    PIECE: tl.constexpr,
):
    q = tl.program_id(0).to(tl.int64)
    own = tl.load(query + q)
    best, least = own * 0 - 1, tl.load(distance + q)  # infinity
    j, stop = tl.load(begin + q), tl.load(end + q)
    known = (own >= 0) & (own < rows) & (j >= 0) & (stop <= length)
    stop = tl.where(known, stop, j)
    while j < stop:  # not range, which the interpreter cannot count with loaded numbers
        other = tl.load(candidate + j)
        known = known & (other < rows)
        if (other >= 0) & (other < rows) & (other != own):
            squares = tl.zeros([PIECE], tl.float32)
            at = 0
            while at < width:
                column = at + tl.arange(0, PIECE)
                inside = column < width
                a = tl.load(features + own * width + column, inside, 0.0)
                b = tl.load(features + other * width + column, inside, 0.0)
                squares += (a - b) * (a - b)
                at += PIECE
            found = tl.sum(squares)
            best = tl.where(found < least, other, best)
            least = tl.minimum(found, least)
        j += 1
    tl.store(nearest + q, tl.where(known, best, -1))
    tl.store(distance + q, tl.where(known, least, float("nan")))


def nearest_token(
    features: Tensor,  # [K, D]
    query: Tensor,  # [Q]
    candidate: Tensor,  # [L]
    begin: Tensor,  # [Q]
    end: Tensor,  # [Q]
) -> tuple[Tensor, Tensor]:  # [Q], [Q]
    """The op ``patchgate::nearest_token``, on the current stream; never synchronises.

    It cannot check the indices, because that would synchronise: a query with a row or a candidate
    that does not exist has no nearest token (-1), at a distance of NaN.

    Raises:
        TypeError: dtypes that do not fit.
        ValueError: shapes or devices that do not fit.
    """
    _token_op_checks.nearest_token(features, query, candidate, begin, end)
    check_devices("nearest_token", features, query=query, candidate=candidate, begin=begin, end=end)
    nearest = torch.empty_like(query)
    distance = features.new_full(query.shape, torch.inf)
    rows = [x.contiguous() for x in (features, query, candidate, begin, end)]
    _launch(rows, nearest, distance).run((len(query),), features)
    return nearest, distance


def _launch(rows: list[Tensor], nearest: Tensor, distance: Tensor) -> Launch:
    arguments = (*rows, nearest, distance, len(rows[0]), len(rows[2]), rows[0].shape[1])
    return Launch(_nearest, arguments, {"PIECE": _PIECE, "num_warps": 4})


def variants() -> list[Variant]:
    """100,000 tokens of so400m/14, 29 candidates each."""
    tokens = 100_000
    index = [meta(tokens, dtype=torch.int64) for _ in range(3)]
    candidate = meta(29 * tokens, dtype=torch.int64)
    rows = [meta(tokens, 1152, dtype=torch.float32), index[0], candidate, *index[1:]]
    distance = meta(tokens, dtype=torch.float32)
    return [Variant("29 candidates, 1152 features", _launch(rows, index[0], distance))]
