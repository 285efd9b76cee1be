"""The state of a gate between two pushes, and the same as tensors by name.

Letters: S streams, f frames of a tubelet, C planes, H W pixels, h w cells, M remembered pictures.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from patchgate._tensors import truths
from patchgate.gate import state as gate_state
from patchgate.gate.longterm.fitting import glance
from patchgate.gate.longterm.pictures import Picture, Remembered
from patchgate.gate.longterm.turns import Turn
from patchgate.gate.memory import GateMemory
from patchgate.gate.settings import GateSettings
from patchgate.gate.tensors import MEMORY, State


class Now(NamedTuple):
    """The state of a gate."""

    memory: GateMemory | None = None
    pending: Tensor | None = None  # [S, 1, C, H, W]: a frame without its partner
    pending_map: Tensor | None = None  # [h, w]: the map of the push that brought this frame
    streamed: bool = False  # the last push had a stream dimension
    remembered: tuple[Remembered, ...] = ()  # S, of a gate with memory
    turns: tuple[tuple[Turn, ...], ...] = ()  # S, those of the last push


def parts_of(now: Now) -> dict[str, Tensor]:
    """Returns the state as tensors by name; empty if there is none."""
    if now.memory is None:
        return {}
    now.memory.lent()
    parts = now.memory.state._asdict()
    for name in ("pending", "pending_map"):
        if (tensor := getattr(now, name)) is not None:
            parts[name] = tensor
    parts |= _pictures(now, now.memory.state.picture)
    return {**parts, "streamed": truths([now.streamed])[0]}


def now_of(state: Mapping[str, Tensor], settings: GateSettings) -> Now:
    """Makes a state with copies of these tensors. Synchronises.

    Raises:
        ValueError: these are none of a gate of these settings, or contradict each other.
    """
    if not state:
        return Now()
    if wrong := gate_state.contradiction(state, settings):
        raise ValueError(f"state: {wrong}")
    copies = {n: state[n].detach().clone() for n in ("pending", "pending_map") if n in state}
    memory = GateMemory.holding({n: state[n] for n in State._fields}, settings)
    streamed = "streamed" in state and bool(state["streamed"])
    remembered = _remembered(state, settings.cell) if settings.memory else ()
    return Now(memory, copies.get("pending"), copies.get("pending_map"), streamed, remembered)


def memory_ids(now: Now) -> Tensor | None:
    """Returns the tokens of remembered pictures: see ``Gate.memory_ids``."""
    if not now.remembered:
        return None
    none = np.full(now.remembered[0].whole.shape, -1)  # [h, w]
    every = [
        [none if each is None else each.tokens for each in own.pictures] for own in now.remembered
    ]
    return torch.from_numpy(np.array(every, np.int64)).to(_device(now))


def _pictures(now: Now, like: Tensor) -> dict[str, Tensor]:
    """Returns what is remembered as tensors, the ``MEMORY``; ``like``: ``[S, f, C, H, W]``."""
    remembered, tokens = now.remembered, memory_ids(now)
    if tokens is None:
        return {}
    blank, device = torch.zeros_like(like[0]), _device(now)
    pixels, numbers = [], []
    for own in remembered:
        for each in own.pictures:
            pixels.append(blank if each is None else each.pixels)
            numbers.append((-1, -1) if each is None else (each.used, each.shot))
    count = len(remembered), len(remembered[0].pictures)
    counts = [(own.turns, own.shot, int(own.busy)) for own in remembered]
    return {
        "memory_pixels": torch.stack(pixels).unflatten(0, count),
        "memory_tokens": tokens,
        "memory_numbers": torch.tensor(numbers, dtype=torch.int64, device=device).view(*count, 2),
        "memory_whole": torch.from_numpy(np.stack([own.whole for own in remembered])).to(device),
        "memory_now": torch.tensor(counts, dtype=torch.int64, device=device),
    }


def _device(now: Now) -> torch.device:
    assert now.memory is not None
    return now.memory.state.picture.device


def _remembered(state: Mapping[str, Tensor], p: int) -> tuple[Remembered, ...]:
    """Makes of the tensors what is remembered of each stream. ``p``: cell side."""
    pixels, *rest = (state[name].detach().clone() for name in MEMORY)
    tokens, numbers, whole, now = (each.cpu().numpy() for each in rest)
    found = []
    for s, (turns, shot, busy) in enumerate(now.tolist()):
        pictures: list[Picture | None] = [None] * len(pixels[s])
        for i, (used, since) in enumerate(numbers[s].tolist()):
            if used >= 0:
                own = pixels[s, i].clone()
                pictures[i] = Picture(own, glance(own, p), tokens[s, i].copy(), used, since)
        found.append(Remembered(tuple(pictures), whole[s].copy(), turns, shot, bool(busy)))
    return tuple(found)
