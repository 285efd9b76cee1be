"""Checks states of gates that come from outside; only this module knows what is valid.

Letters: S streams, f frames of a tubelet, C planes, H W pixels, h w cells, A the gate's max_age,
or 0.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.gate.longterm.check import wrong_memory
from patchgate.gate.memory import MOST_TOKENS
from patchgate.gate.settings import GateSettings
from patchgate.gate.tensors import DTYPES, MEMORY, State, memory_shapes, shapes_of
from patchgate.reference import gate_light

_MOST_FRAMES = 1 << 53  # the most frames since a reset
_EXTRAS = {"pending": torch.uint8, "pending_map": torch.float64, "streamed": torch.bool}


def contradiction(state: Mapping[str, Any], settings: GateSettings) -> str | None:
    """Says what is wrong in a state of ``Gate.state_dict``; None if nothing is. Synchronises.

    Args:
        state: the tensors by name.
        settings: those of the gate that it is for.
    """
    missing = [name for name in State._fields if name not in state]
    unknown = [name for name in state if name not in DTYPES | MEMORY | _EXTRAS]
    if missing or unknown:
        return f"expected {', '.join(State._fields)}, got {sorted(map(str, state))}"
    return (
        _wrong_tensor(state)
        or _wrong_settings(state, settings)
        or _wrong_names(state, settings)
        or _wrong_shape(state, settings)
        or _wrong_light(state)
        or _wrong_numbers(State(*(state[name] for name in State._fields)), settings)
        or _wrong_waiting(state, settings)
        or wrong_memory(state, settings)
    )


def _wrong_tensor(state: Mapping[str, Any]) -> str | None:
    """Checks that all are dense tensors of the right dtypes, on one device."""
    dtypes = {name: dtype for name, dtype in (DTYPES | MEMORY | _EXTRAS).items() if name in state}
    for name, dtype in dtypes.items():
        came = state[name]
        if not isinstance(came, Tensor):
            return f"expected {name} to be a Tensor, got {type(came).__name__}"
        if came.dtype != dtype:
            return f"expected {name} of {dtype}, got {came.dtype}"
        if came.layout != torch.strided or came.is_nested or came.is_meta:
            return f"expected {name} to be dense, got {came.layout} on {came.device}"
    devices = {name: state[name].device for name in dtypes if name != "streamed"}
    if len(set(devices.values())) > 1:
        return f"expected all tensors on one device, got {devices}"
    return None


def _wrong_settings(state: Mapping[str, Tensor], settings: GateSettings) -> str | None:
    """Checks that a gate of these settings can have made the state."""
    picture, source, births = state["picture"], state["source"], state["births"]
    for name, letters in (
        ("picture", "S, f, C, H, W"),
        ("source", "S, h, w"),
        ("births", "S, A"),
        ("light", "S, f, C, 4, h, w"),
    ):
        if state[name].dim() != letters.count(",") + 1:
            return f"expected {name} [{letters}], got {list(state[name].shape)}"
    (f, c, height, width), (h, w), cell = picture.shape[1:], source.shape[1:], settings.cell
    if (h * cell, w * cell) != (height, width) or not h or not w:
        return f"expected cells of {cell} px, got {h} x {w} cells on {height} x {width} px"
    lit = "global" if state["light"].shape[4] else None
    own = {"temporal_patch": f, "max_age": births.shape[1] or None, "illumination": lit}
    for name, got in own.items():
        if got != (expected := getattr(settings, name)):
            return f"it is of a gate with {name}={got!r}, this one has {expected!r}"
    if c not in (1, 3) or (c == 3 and not settings.chroma):
        return f"expected 1 plane, or 3 with chroma, got {c} and chroma={settings.chroma}"
    return None


def _wrong_names(state: Mapping[str, Tensor], settings: GateSettings) -> str | None:
    """Checks that a gate with memory made the state, if the settings have one, and else not."""
    found = [name for name in MEMORY if name in state]
    if settings.memory and len(found) < len(MEMORY):
        return f"expected {', '.join(MEMORY)} of a gate with memory={settings.memory}, got {found}"
    if found and not settings.memory:
        return f"it is of a gate with memory, this one has memory={settings.memory}"
    return None


def _wrong_shape(state: Mapping[str, Tensor], settings: GateSettings) -> str | None:
    """Checks that all shapes fit the reference picture."""
    picture = tuple(state["picture"].shape)
    if not picture[0]:
        return "expected at least one stream, got none"
    shapes = shapes_of(picture, settings) | memory_shapes(picture, settings)
    shapes["pending"] = (picture[0], 1, *picture[2:])
    shapes["pending_map"], shapes["streamed"] = shapes["source"][1:], ()
    for name, tensor in state.items():
        if tuple(tensor.shape) != shapes[name]:
            return f"expected {name} {list(shapes[name])}, got {list(tensor.shape)}"
    return None


def _wrong_numbers(state: State, settings: GateSettings) -> str | None:
    """Checks that the numbers of a state do not contradict each other."""
    cells = state.source[0].numel()
    for s, (frames, tokens) in enumerate(state.clock.tolist()):
        if not 0 <= frames <= _MOST_FRAMES:
            return f"expected clock to count 0 to 2^53 frames, got {frames} in stream {s}"
        least, most = cells * bool(frames), min(frames * cells, MOST_TOKENS)
        if not least <= tokens <= most:
            return (
                f"expected {least} to {most} tokens in clock after {frames} frames of {cells} "
                f"cells, got {tokens} in stream {s}"
            )
    begun = state.clock[:, 0] > 0  # [S]: only of these is the state read
    tokens = state.clock[:, 1:].clamp(min=1)  # [S, 1]
    for name in ("ids", "source"):
        ids = getattr(state, name).flatten(1).long()  # [S, H * W] or [S, h * w]
        wrong = ((ids < 0) | (ids >= tokens)).any(1) & begun
        if bool(wrong.any()):
            s = int(wrong.nonzero()[0])
            low, high = int(ids[s].min()), int(ids[s].max())
            return (
                f"expected {name} below the {int(tokens[s])} tokens that stream {s} has emitted, "
                f"got {low}..{high}"
            )
    if wrong := _wrong_pictures(state, begun, settings.cell):
        return wrong
    full = 255 * settings.sub_block**2  # the largest cost
    quartiles = state.quartiles[begun]
    if quartiles.numel() and not 0 <= int(quartiles.min()) <= int(quartiles.max()) <= full:
        return f"expected quartiles of costs in 0..{full}, got others"
    return _wrong_births(state, begun)


def _wrong_pictures(state: State, begun: Tensor, p: int) -> str | None:
    """Checks that some pixels of each cell, p pixels square, came from the cell's source."""
    ids, source = state.ids[begun], state.source[begun]
    cells = ids.unflatten(1, (-1, p)).unflatten(3, (-1, p)).transpose(2, 3)  # [S, h, w, p, p]
    strange = ~(cells == source[..., None, None]).flatten(3).any(3)  # [S, h, w]
    if bool(strange.any()):
        s, row, column = strange.nonzero()[0].tolist()
        return (
            f"expected source among the ids of a cell's pixels, got token "
            f"{int(source[s, row, column])} in cell {row, column}, where ids has others"
        )
    return None


def _wrong_light(state: Mapping[str, Tensor]) -> str | None:
    """Checks what the cells have gone through since they were encoded."""
    light = state["light"][state["clock"][:, 0] > 0]  # [S, f, C, 4, h, w]: only of these it is read
    least, greatest = light[:, :, :, 0::2], light[:, :, :, 1::2]
    strange = gate_light.too_far(light.flatten(0, 1))
    if bool(strange.any()) or bool((least > greatest).any()):
        return "expected light within 7/10 and 10/7 of a token's own, the least before the greatest"
    return None


def _wrong_births(state: State, begun: Tensor) -> str | None:
    """Checks the counts of tokens before each of the last frames.

    From the oldest frame on, they must not fall, nor rise by more than a frame has cells.
    """
    age, cells = state.births.shape[1], state.source[0].numel()
    if not age or not bool(begun.any()):
        return None
    clock, births = state.clock[begun], state.births[begun]
    frame = clock[:, :1] - age + arange(age, device=births.device)  # [S, A]
    known = frame >= 0
    before = births.gather(1, frame % age)  # [S, A]: tokens before each frame
    after = torch.cat([before[:, 1:], clock[:, 1:]], 1)
    wrong = known & ((before < 0) | (after < before) | (after - before > cells))
    wrong |= (frame == 0) & (before != 0)
    if bool(wrong.any()):
        return (
            "expected births to count the tokens before each of the last frames, in order, up to "
            f"those in clock and by at most {cells} a frame"
        )
    return None


def _wrong_waiting(state: Mapping[str, Tensor], settings: GateSettings) -> str | None:
    """Checks the frame that waits for its partner, and its map."""
    if "pending" in state and settings.temporal_patch == 1:
        return "expected no pending frame with temporal_patch=1"
    factors = state.get("pending_map")
    if factors is not None and bool((factors.isnan() | (factors < 0)).any()):
        return "expected pending_map of factors >= 0 (inf allowed), got NaN or less"
    if "streamed" in state and not bool(state["streamed"]) and len(state["clock"]) > 1:
        return f"expected streamed to be true of {len(state['clock'])} streams"
    return None
