"""Completes the op ``gather`` with its gradient with respect to the levels.

``_ops`` imports it when the library, which has the schema, is loaded. All other arguments of
``gather`` are integers.
"""

from typing import Any

import torch
from torch import Tensor

from patchgate._tensors import arange

gather = torch.ops.patchgate.gather.default


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, levels = inputs[:8]
    ctx.save_for_backward(*tensors)
    ctx.dtype, ctx.settings = levels.dtype, inputs[8:]


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """A level gathers the gradients of all samples of its value: a histogram, in float32.

    The samples are gathered once more. On a GPU they are added by atomics, in no fixed order,
    unless ``torch.use_deterministic_algorithms`` asks for one.
    """
    index, merge = ctx.saved_tensors[3], ctx.settings[2]
    values = arange(256, device=grad.device).float().repeat(3, 1)
    sample = gather(*ctx.saved_tensors, values, *ctx.settings)  # [capacity * merge^2, ..]
    kept = (index >= 0).repeat_interleave(merge * merge)[:, None] & ~sample.isnan()
    bins = sample.nan_to_num().long() + 256 * _channels(ctx.settings, grad.device)
    counted = grad.float() * kept
    sums = counted.new_zeros(3 * 256)
    sums = sums.index_add(0, bins.flatten(), counted.flatten())
    return *(None,) * 7, sums.view(3, 256).to(ctx.dtype), *(None,) * 6


def _channels(settings: tuple[Any, ...], device: torch.device) -> Tensor:
    """The channel of each number of a patch row, ``[C * f * P * P]``."""
    _, patch, _, frames, channels_last, _ = settings
    samples = frames * patch * patch
    column = arange(3 * samples, device=device)
    return column % 3 if channels_last else column // samples


torch.library.register_autograd("patchgate::gather", _gradient, setup_context=_setup)
