"""The state of a gate between two pushes, and the same as tensors by name.

Letters: S streams, f frames of a tubelet, C planes, H W pixels, h w cells, M remembered pictures.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate._tensors import truths
from patchgate.gate import state as gate_state
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
    remembered = _remembered(state) if settings.memory else ()
    return Now(memory, copies.get("pending"), copies.get("pending_map"), streamed, remembered)


def memory_ids(now: Now) -> Tensor | None:
    """Returns the tokens of remembered pictures: see ``Gate.memory_ids``."""
    if not now.remembered:
        return None
    streams = []
    for own in now.remembered:
        none = torch.full_like(own.whole, -1, dtype=torch.int64)  # [h, w]
        streams.append(torch.stack([none if p is None else p.tokens for p in own.pictures]))
    return torch.stack(streams)


def _pictures(now: Now, like: Tensor) -> dict[str, Tensor]:
    """Returns what is remembered as tensors, the ``MEMORY``; ``like``: ``[S, f, C, H, W]``."""
    remembered, tokens = now.remembered, memory_ids(now)
    if tokens is None:
        return {}
    blank, device = torch.zeros_like(like[0]), like.device
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
        "memory_whole": torch.stack([own.whole for own in remembered]),
        "memory_now": torch.tensor(counts, dtype=torch.int64, device=device),
    }


def _remembered(state: Mapping[str, Tensor]) -> tuple[Remembered, ...]:
    """Makes of the tensors what is remembered of each stream."""
    pixels, tokens, numbers, whole, now = (state[name].detach().clone() for name in MEMORY)
    found = []
    for s, (turns, shot, busy) in enumerate(now.tolist()):
        pictures = (
            Picture(pixels[s, i].clone(), tokens[s, i].clone(), used, since) if used >= 0 else None
            for i, (used, since) in enumerate(numbers[s].tolist())
        )
        # A load may come in the middle of many turns: look for jumps at once.
        found.append(Remembered(tuple(pictures), whole[s].clone(), turns, shot, bool(busy), 0))
    return tuple(found)
