"""Saved states, changed in every field: dtype, shape, single numbers, presence."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from patchgate.gate.saved import DIGEST, crc32

State = dict[str, Tensor]


def resealed(state: Mapping[str, Tensor]) -> State:
    """With the digest of what is there now: as by somebody who knows how it is made."""
    others = {name: tensor for name, tensor in state.items() if name != DIGEST}
    return {**others, DIGEST: torch.tensor(crc32(others))}


def unseal(state: Mapping[str, Tensor], name: str) -> State:
    """Without a tensor, and with the digest of the others."""
    return resealed({key: tensor for key, tensor in state.items() if key != name})


def refused(load: Callable[[State], None], state: State) -> bool:
    """Whether a state is refused, in words that say of what they are."""
    try:
        load(state)
    except ValueError as error:
        said = str(error)
    else:
        return False
    assert said.startswith("state: "), said
    return True


def mutations(state: Mapping[str, Tensor]) -> Iterator[tuple[str, State]]:
    """States with one field changed, and what was done to it."""
    for name, tensor in state.items():
        yield f"{name}: gone", {key: value for key, value in state.items() if key != name}
        for what, other in _others(tensor):
            yield f"{name}: {what}", {**state, name: other}


def _others(tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    other = torch.float32 if tensor.dtype != torch.float32 else torch.float64
    yield "dtype", tensor.to(other)
    yield "dtype of other width", tensor.to(torch.int16)
    yield "shape, one more axis", tensor[None]
    if tensor.dim():
        yield "shape, one row more", torch.cat([tensor, tensor.new_zeros(1, *tensor.shape[1:])])
        yield "shape, flat and longer", torch.cat([tensor.flatten(), tensor.new_zeros(1)])
    if tensor.dim() and len(tensor):
        yield "shape, one row less", tensor[:-1]
    for at in sorted({0, tensor.numel() // 2, tensor.numel() - 1}) if tensor.numel() else []:
        for what, value in _values(tensor.flatten()[at]):
            changed = tensor.clone()
            changed.view(-1)[at] = value
            if not torch.equal(changed, tensor):
                yield f"value {at} {what}", changed


def _values(old: Tensor) -> Iterator[tuple[str, Tensor]]:
    if old.dtype == torch.bool:
        yield "not", ~old
    elif old.is_floating_point():
        for value in (float("nan"), float("inf"), -1.0, 0.0):
            yield str(value), old.new_tensor(value)
        yield (
            "next",
            torch.nextafter(old, old.new_tensor(float("inf"))) if old.itemsize > 2 else -old,
        )
    else:
        info = torch.iinfo(old.dtype)
        for value in (info.min, info.max, 0, int(old) - 1, int(old) + 1):
            if info.min <= value <= info.max:
                yield str(value), old.new_tensor(value)
