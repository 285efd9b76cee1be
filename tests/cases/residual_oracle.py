"""A gated tower with ``context="full"``, written again: frame after frame, cell after cell.

Nothing is packed, nothing is summed up incrementally, no layer is batched over time: in each frame
every token's attention is taken anew over what all tokens of the frame lend.

Letters: T frames, N cells, M = prefix + N tokens, D features, E numbers of a patch.
"""

import copy
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from patchgate.gate import MOVED


@dataclass
class State:
    """What a token is in every layer."""

    x: list[Tensor] = field(default_factory=list)  # [D] per layer, and at the end
    key: list[Tensor] = field(default_factory=list)  # [H, d]
    value: list[Tensor] = field(default_factory=list)
    query: list[Tensor] = field(default_factory=list)
    made: list[Tensor] = field(default_factory=list)  # [H, d]: the attention behind x[layer + 1]


def encode(
    family,
    patches: Tensor,  # [K, E] of the kept cells
    mask: Tensor,  # [T, N]
    source: Tensor,  # [T, N]
    tolerance: float = math.inf,
    layers: int | None = None,
    refresh: int | None = None,
    moved: str = "own",
    own: Tensor | None = None,  # [T, N, E]: the pixels of all cells
    kind: Tensor | None = None,  # [T, N]: what the gate calls them
) -> tuple[Tensor, int]:
    """Features ``[T, M, D]``, and how many tokens all layers computed."""
    frames, (prefix, n, depth) = [], (family.prefix, mask.shape[1], family.depth)
    cells: list[State] = [State() for _ in range(prefix + n)]
    of_token: dict[int, State] = {}
    computed = 0
    for t in range(len(mask)):
        active = [False] * prefix + mask[t].tolist()
        shown = list(cells)
        for cell in range(n):
            if t > 0 and not mask[t, cell] and source[t, cell] != source[t - 1, cell]:
                shown[prefix + cell] = copy.copy(of_token[int(source[t, cell])])
                active[prefix + cell] = moved == "source" or (moved == "lend" and tolerance == 0)
            if moved == "own" and kind[t, cell] == MOVED:
                active[prefix + cell] = True
            if refresh and t % refresh == 0:
                active[prefix + cell] = True
        cells = [_copied(state) for state in shown]
        for p in range(prefix):
            active[p] = any(active)
        pixels = own[t] if moved == "own" else patches[source[t]]
        _enter(family, cells, active, pixels)
        for layer in range(depth):
            computed += sum(active)
            may_fire = layers is None or layer < layers
            active = _through(family, layer, cells, active, tolerance if may_fire else math.inf)
        first = {}
        for cell in range(n):
            first.setdefault(int(source[t, cell]), cells[prefix + cell])
        of_token.update(first)
        frames.append(torch.stack([family.leave(state.x[-1][None])[0] for state in cells]))
    return torch.stack(frames), computed


def _copied(state: State) -> State:
    return State(*(list(part) for part in vars(state).values()))


def _enter(family, cells, active, pixels) -> None:
    for m, state in enumerate(cells):
        if not active[m]:
            continue
        if m < family.prefix:
            x = family.prefix_tokens()[m]
        else:
            cell = torch.tensor([m - family.prefix])
            x = family.embed(pixels[cell], cell)[0]
        _put(state.x, 0, x)


def _through(family, layer, cells, active, tolerance) -> list[bool]:
    for m, state in enumerate(cells):
        if active[m]:
            at = torch.tensor([m - family.prefix]).clamp(min=-1)
            q, k, v = family.qkv(layer, state.x[layer][None], at)
            for part, new in ((state.query, q), (state.key, k), (state.value, v)):
                _put(part, layer, new[0])
    keys = torch.stack([state.key[layer] for state in cells])  # [M, H, d]
    values = torch.stack([state.value[layer] for state in cells])
    leaving = list(active)
    for m, state in enumerate(cells):
        scores = torch.einsum("hd,khd->hk", state.query[layer], keys) * family.scale(layer)
        out = torch.einsum("hk,khd->hd", scores.softmax(1), values)
        if not active[m]:
            apart = (out - state.made[layer]).norm(dim=1)  # [H]
            far = (apart * family.reaches(*out.shape)[layer]).norm()
            leaving[m] = bool(far > tolerance * state.x[layer].norm())
        if leaving[m]:
            _put(state.made, layer, out)
            _put(state.x, layer + 1, family.finish(layer, state.x[layer][None], out[None])[0])
    return leaving


def _put(parts: list[Tensor], index: int, new: Tensor) -> None:
    parts[index : index + 1] = [new]
