"""The projection that cuts pictures into patches, applied to patches that are cut already.

Its kernel and stride are one patch, so it is a linear layer on the patch's pixels. If an adapter or
a hook changes its call, it is called, and every patch is a picture of its own.

Letters: K patches, C channels, f frames of a patch (in 3-D), P patch side, D features.
"""

from typing import Any

import torch
from torch import Tensor, nn

from patchgate._check.text import a_or_an
from patchgate._tensors import arange

_KINDS = (nn.Conv2d, nn.Conv3d, nn.Linear)
_SIDE = 2  # patches along a side of the picture that ``check_alone`` embeds


def base(projection: Any) -> Any:
    """Returns the convolution or linear layer inside its wrapper (an adapter, for instance).

    Raises:
        TypeError: there is none, or its weights are not floats (they are quantised).
    """
    found = projection if isinstance(projection, _KINDS) else _within(projection)
    if found is None or not found.weight.is_floating_point():
        holds = "no weights" if found is None else f"weights of {found.weight.dtype}"
        raise TypeError(
            f"tower: its patch embedding is {a_or_an(type(projection).__name__)} with {holds}, "
            "expected a convolution (or linear layer) of floats; neither quantise nor replace it"
        )
    return found


def _within(wrapper: nn.Module) -> Any:
    """Finds the layer whose weight is the wrapper's ``weight``, or else the largest layer.

    An adapter's own layers are smaller than the one that it adapts.
    """
    shown: Any = getattr(wrapper, "weight", None)
    found = None
    for module in wrapper.modules():
        if isinstance(module, _KINDS):
            if module.weight is shown:
                return module
            if found is None or module.weight.numel() > found.weight.numel():
                found = module
    return found


def linear(projection: Any, rows: Tensor) -> Tensor:
    """Projects patches ``[K, C * f * P * P]`` to ``[K, D]`` with the layer inside its wrapper."""
    convolution = base(projection)
    weight = convolution.weight
    return nn.functional.linear(rows.to(weight.dtype), weight.flatten(1), convolution.bias)


def called(outer: nn.Module, pictures: Tensor, width: int, patches: int = 1) -> Tensor:
    """Calls a patch embedding on pictures.

    Args:
        outer: the outermost module of the patch embedding.
        pictures: ``[K, C, (f,) H, W]``.
        width: D.
        patches: the number of patches of each picture.

    Returns:
        ``[K * patches, D]``.

    Raises:
        ValueError: the call does not return one row of D numbers for each patch.
    """
    out = outer(pictures)
    count = len(pictures) * patches
    if not isinstance(out, Tensor) or out.numel() != count * width:
        came = list(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(
            f"tower: its patch embedding ({type(outer).__name__}) returns {came} for {count} "
            f"patches, expected {count} rows of {width} numbers; its wrapper must take patches "
            "one by one"
        )
    if out.dim() == 2 or (out.dim() == 3 and out.shape[2] == width):  # tokens already
        return out.reshape(count, width)
    return out.flatten(2).transpose(1, 2).reshape(count, width)


def is_settled(outer: nn.Module) -> bool:
    """Whether a call returns the same every time, and does not change the module."""
    for module in outer.modules():
        drops = getattr(module, "p", 0) != 0
        averages = getattr(module, "running_mean", None) is not None  # batch norms
        if module.training and (drops or averages):
            return False
    return True


def check_alone(outer: nn.Module, weight: Tensor) -> None:
    """Checks that a patch's embedding does not depend on the patches beside it. Synchronises.

    Args:
        outer: the outermost module of the patch embedding.
        weight: ``[D, C, (f,) P, P]``, that of the convolution inside.

    Raises:
        ValueError: it depends on them.
    """
    count, (*front, height, width) = _SIDE**2, weight.shape[1:]
    place = arange(count * weight[0].numel(), device=weight.device)
    patches = (place * 0.7).sin().to(weight.dtype).view(count, *front, height, width)
    picture = patches.unflatten(0, (_SIDE, _SIDE)).movedim((0, 1), (-4, -2))
    picture = picture.reshape(1, *front, _SIDE * height, _SIDE * width)
    with torch.no_grad():
        apart = called(outer, patches, len(weight))
        whole = called(outer, picture, len(weight), count)
    # Half the digits: a convolution may round more than its dtype does, as TF32.
    allowed = 4 * torch.finfo(weight.dtype).eps ** 0.5
    if not bool((apart - whole).norm() <= allowed * whole.norm()):
        raise ValueError(
            f"tower: its patch embedding ({type(outer).__name__}) makes something else of a patch "
            "alone than of the same patch in a picture, so that kept patches cannot be embedded "
            "without the others; gate the tower without what wraps it"
        )
