"""Checks the arguments of a gated tower; errors are in the user's words.

Letters: T frames, H W pixels, h w cells, N = h * w, K kept cells.
"""

from collections.abc import Sequence
from dataclasses import fields
from numbers import Integral
from operator import index
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchgate._check.text import nearest_first
from patchgate._tensors import arange
from patchgate.encoders.families.structure import check_device, check_floats
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.tower import Tower
from patchgate.gate import GateSettings
from patchgate.gate.settings import GEOMETRY

# Arguments that models of transformers pass to their towers, which ignore them.
_HANDED_DOWN = ("vision_aspect_ratio", "use_cache")


def gate_settings(tower: Tower, given: dict[str, Any]) -> GateSettings:
    """Makes the gate's settings: sizes from the tower, everything else from the user."""
    known = [each.name for each in fields(GateSettings)]
    for name in given:
        if name not in known:
            rules = [each for each in known if each not in GEOMETRY]
            settings = [*rules, *(each.name for each in fields(Fidelity))]
            listed = ", ".join(nearest_first(name, settings))
            raise TypeError(f"gated: expected settings of {listed}, got {name!r}")
    own = {
        "patch": tower.patch,
        "merge": tower.merge,
        "temporal_patch": tower.temporal_patch,
        "size": tower.grid_size,
    }
    # The tower's ``PixelSpec`` says how frames are resized; a fit would be silently ignored.
    for name, value in {**own, "fit": "stretch"}.items():
        square = name == "size" and (given.get(name),) * 2 == value  # one number for both
        if name in given and given[name] != value and not square:
            raise ValueError(
                f"{name}: the tower has {name}={value}, got {given[name]}; leave it out"
            )
    return GateSettings(**{**given, **own})


def check_options(interpolate: bool, options: dict[str, Any]) -> None:
    """Raises if the call has an option of the model's own call that a gated tower cannot serve."""
    if interpolate:
        raise ValueError(
            "interpolate_pos_encoding=True: a gated tower takes pictures of its own size only"
        )
    if options.pop("output_attentions", None):
        raise ValueError(
            "output_attentions=True: kept cells attend to other kept cells only, so there are no "
            "maps of the tower's shape; ask the original, .tower"
        )
    unknown = sorted(
        name for name, value in options.items() if value is not None and name not in _HANDED_DOWN
    )
    if unknown:
        raise TypeError(f"a gated tower does not take {', '.join(unknown)}")


def check_pixels(pixel_values: Any, tower: Tower) -> None:
    """Raises unless there is at least one frame, of the tower's size and on its device."""
    check_floats(pixel_values, tower)
    shape, (height, width) = list(pixel_values.shape), tower.size
    if len(shape) != 4 or shape[1:] != [3, height, width]:
        raise ValueError(f"pixel_values: expected [T, 3, {height}, {width}], got {shape}")
    if not shape[0]:
        raise ValueError("pixel_values: expected at least one frame, got none")


def checked_clips(lengths: Sequence[int] | None, frames: int) -> list[int]:
    """Returns the number of frames of each clip; without ``lengths`` there is one clip."""
    if lengths is None:
        return [frames]
    try:
        clips = [index(n) for n in lengths]
    except TypeError as error:
        raise TypeError(f"clip_lengths: expected integers, got {lengths!r}") from error
    if sum(clips) != frames or min(clips, default=0) < 1:
        raise ValueError(
            f"clip_lengths: expected lengths of at least 1 that add up to the {frames} frames of "
            f"pixel_values, got {clips} (sum {sum(clips)})"
        )
    return clips


def checked_states(wanted: Any, tower: Tower) -> list[int]:
    """Returns the numbers of the wanted hidden states.

    Args:
        wanted: as in transformers a flag, a number or several numbers.
    """
    states = tower.computed_layers + 1
    if wanted is None or isinstance(wanted, bool | np.bool_):
        wanted = range(states) if wanted else ()
    numbers: list[Any] = [wanted] if isinstance(wanted, Integral) else list(wanted)
    for i in numbers:
        if (
            isinstance(i, bool)
            or not isinstance(i, Integral)
            or int(i) not in range(-states, states)
        ):
            raise ValueError(
                f"output_hidden_states: expected numbers of the {states} hidden states, got {i!r}"
            )
    if numbers and tower.ends_after is not None:
        raise ValueError(
            "output_hidden_states: a tower that ends at feature_layer has fewer of them, so that "
            "their numbers would differ from the whole tower's; gate it without feature_layer"
        )
    return sorted({int(i) % states for i in numbers})


def checked_rows(
    rows: Tensor, cell: Tensor, cu_seqlens: Tensor, tower: Tower
) -> tuple[Tensor, Tensor]:
    """Checks the arguments of ``encode``. Synchronises.

    Returns:
        Which cells were kept, ``[T, N]`` bool, and the order that sorts the rows by frame and cell,
        ``[K]`` int64.
    """
    for name, tensor in (("rows", rows), ("cell", cell), ("cu_seqlens", cu_seqlens)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: expected a Tensor, got {type(tensor).__name__}")
        check_device(tensor, name, tower)
        if tensor.is_floating_point() != (name == "rows"):
            expected = "floats" if name == "rows" else "integers"
            raise TypeError(f"{name}: expected {expected}, got {tensor.dtype}")
    each, width = tower.tokens_per_cell, 3 * tower.temporal_patch * tower.patch**2
    if rows.dim() != 2 or rows.shape[1] != width or len(rows) % each:
        length = "K" if each == 1 else f"K * {each}"
        raise ValueError(f"rows: expected [{length}, {width}], got {list(rows.shape)}")
    count, (h, w) = len(rows) // each, tower.shape
    if cell.dim() == 2 and cell.shape[1] == 2:
        if bool(((cell < 0) | (cell >= cell.new_tensor([h, w]))).any()):
            raise ValueError(f"cell: expected rows in 0..{h - 1} and columns in 0..{w - 1}")
        cell = cell[:, 0] * w + cell[:, 1]
    if list(cell.shape) != [count]:
        raise ValueError(
            f"cell: expected [K, 2] or [K] for K = {count} cells, got {list(cell.shape)}"
        )
    if bool(((cell < 0) | (cell >= tower.cells)).any()):
        raise ValueError(f"cell: expected numbers in 0..{tower.cells - 1}")
    kept = cu_seqlens.long().diff()
    if (
        cu_seqlens.dim() != 1
        or not len(cu_seqlens)
        or bool((kept < 0).any())
        or (int(cu_seqlens[0]) or int(cu_seqlens[-1]) != count)
    ):
        raise ValueError(f"cu_seqlens: expected [T + 1] rising from 0 to {count}")
    frame = arange(len(kept), device=kept.device).repeat_interleave(kept)  # [K]
    flat = frame * tower.cells + cell.long()
    mask = torch.zeros((len(kept), tower.cells), dtype=torch.bool, device=kept.device)
    mask.view(-1)[flat] = True
    if int(mask.sum()) != count:
        raise ValueError("cell: expected each cell once a frame at most")
    return mask, flat.argsort()


def checked_source(source: Tensor | None, mask: Tensor, emitted: int) -> Tensor:
    """Returns the token of each cell, ``[T, N]`` int64.

    Args:
        source: the argument of ``encode``; None: only kept cells get their tokens, others get 0.
        mask: ``[T, N]`` bool, which cells were kept.
        emitted: the number of tokens of earlier calls.
    """
    own = arange(int(mask.sum()), device=mask.device) + emitted
    if source is None:
        source = torch.zeros(mask.shape, dtype=torch.int64, device=mask.device)
        source[mask] = own
        return source
    if not len(mask) and not len(source):
        return torch.zeros(mask.shape, dtype=torch.int64, device=mask.device)
    if source.is_floating_point() or source.numel() != mask.numel() or len(source) != len(mask):
        raise ValueError(
            f"source: expected integers [T, h, w] of {list(mask.shape)} frames and cells, got "
            f"{list(source.shape)} {source.dtype}"
        )
    source = source.flatten(1).long()
    known = emitted + mask.sum(1).cumsum(0)[:, None]  # [T, 1]: tokens up to each frame
    if not torch.equal(source[mask], own) or bool(((source < 0) | (source >= known)).any()):
        raise ValueError(
            "source: expected ids of tokens up to their frame, those of the kept cells counting up "
            f"from {emitted} in order"
        )
    if not emitted and not bool(mask[0].all()):
        raise ValueError("source: expected a first frame that keeps every cell")
    return source


def checked_names(names: Tensor | None, emitted: int, tower: Tower) -> Tensor:
    """Returns the ids of tokens that later calls may name, a vector of int64.

    Args:
        names: the argument of ``encode``.
        emitted: the number of tokens so far, those of this call included.
    """
    if names is None:
        return torch.empty(0, dtype=torch.int64, device=tower.weight.device)
    if not isinstance(names, Tensor) or names.is_floating_point():
        came = names.dtype if isinstance(names, Tensor) else type(names).__name__
        raise TypeError(f"names: expected a Tensor of integers, got {came}")
    check_device(names, "names", tower)
    if bool(((names < 0) | (names >= emitted)).any()):
        raise ValueError(f"names: expected ids of tokens in 0..{emitted - 1}, those emitted so far")
    return names.flatten().long()
