"""Several tokenizers in one pass through their tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from patchgate.encoders.run.together import together
from patchgate.pipeline.tokenizer import Tokenizer
from patchgate.tokens import TokenChunk


@torch.no_grad()
def push_together(frames: Mapping[Tokenizer, Any]) -> list[TokenChunk]:
    """Makes the tokens of the next frames of several videos, in one pass through the tower.

    The kept cells of all of them are packed and pass through each layer in one piece. Each result
    is that of ``Tokenizer.push``, up to the rounding of larger products of matrices; what the gates
    find is the same, bit for bit. Synchronises.

    Args:
        frames: what each tokenizer is given, as ``Tokenizer.push`` takes it. Those of one tower, at
            one size of picture, share its passes; others only share the call.

    Returns:
        A ``TokenChunk`` of each, in the same order.

    Raises:
        TypeError, ValueError, RuntimeError: as ``Tokenizer.push`` raises them. The call changes all
            tokenizers or, if it fails in any way, none.
    """
    for tokenizer in frames:
        if not isinstance(tokenizer, Tokenizer):
            raise TypeError(f"frames: expected them by Tokenizer, got {type(tokenizer).__name__}")
    order = list(frames)

    def inside(first: int) -> list[TokenChunk]:
        """Calls every tokenizer from the first one on, each inside the call of the one before."""
        if first == len(order):
            return together([each._pushing(given) for each, given in frames.items()])
        own = order[first]
        return own._calls.run(own._mark, lambda: inside(first + 1))

    return inside(0) if order else []
