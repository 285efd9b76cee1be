"""One hostile call by its number: made, and judged."""

import random
from typing import Any

import torch
from torch import Tensor

from hostile.arguments import MAKERS, MUTATED, valid
from hostile.spoil import spoiled

# Ops of plain torch on the CPU, which read what they are given where it lies, however long.
_PLAIN = ("activate", "residual_attention_backward", "segment_mean_backward")
# What a refusal may be. A RuntimeError of torch's own insides is none.
REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError, MemoryError)
# What only a look into a tensor tells, or what the machine has: fake kernels do not say it.
_BY_LOOKING = (
    "is not one of", "that is not there", "occurs twice", "expected ascending", "taps outside",
    "factors too large", "last stride 1", "contiguous", "clock of stream", "has emitted",
    "not one token", "but features has no rows", "pairs of rows, but", "expected numbers in",
    "out of memory", "can't allocate memory", "link: expected", "bin: expected",
    "room: expected", "level: expected",
    "shares memory", "expected 0..", "bad_alloc", "Storage size calculation overflowed",
    "are too many", "numel: integer multiplication overflow", "cannot create std::vector",
)  # fmt: skip


def call(number: int, only: str | None = None) -> str:
    """Makes a call: "answered: OP", "refused: OP", or what was wrong with it."""
    luck = random.Random(number)
    op = only or luck.choice(sorted(MAKERS))
    args, seen = spoiled(valid(op, luck), luck, endless=op not in _PLAIN)
    function = getattr(torch.ops.patchgate, op)
    before = [_copy(args[i]) if i < len(args) else None for i in MUTATED.get(op, ())]
    fake, fake_refusal = _attempt(function, [_meta(arg) for arg in args])
    results, refusal = _attempt(function, args)
    if refusal is None:
        if fake_refusal is not None:
            return f"BAD {op}: answered, though its fake says {_told(fake_refusal)}"
        if (found := _looks(results)) != (promised := _looks(fake)):
            return f"BAD {op}: gave {found}, its fake {promised}"
        return f"answered: {op}"
    if not isinstance(refusal, REFUSALS) or "INTERNAL ASSERT" in str(refusal):
        return f"BAD {op}: {_told(refusal)}"
    for i, old in zip(MUTATED.get(op, ()), before, strict=True):
        if isinstance(old, Tensor) and not _same(args[i], old):
            return f"BAD {op}: refused ({_told(refusal)}), but argument {i} has changed"
    if seen and fake_refusal is None and not any(part in str(refusal) for part in _BY_LOOKING):
        return f"BAD {op}: its fake takes what it refuses with {_told(refusal)}"
    return f"refused: {op}"


def _attempt(function: Any, args: list[Any]) -> tuple[Any, BaseException | None]:
    try:
        return function(*args), None
    except Exception as error:
        return None, error


def _meta(arg: Any) -> Any:
    if not isinstance(arg, Tensor):
        return arg
    return torch.empty_strided(arg.shape, arg.stride(), dtype=arg.dtype, device="meta")


def _copy(arg: Any) -> Any:
    small = isinstance(arg, Tensor) and arg.numel() < 1 << 22
    return arg.clone() if small else None


def _same(one: Tensor, two: Tensor) -> bool:
    return torch.equal(one.nan_to_num(nan=7.0), two.nan_to_num(nan=7.0))


def _looks(results: Any) -> list[tuple[Any, ...]]:
    tensors = [results] if isinstance(results, Tensor) else list(results)
    return [(tuple(x.shape), x.dtype) for x in tensors]


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
