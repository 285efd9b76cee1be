"""Links: which earlier token each token may join.

Letters: T frames, h w cells, K tokens, Q of them of these frames, C = K - Q, n choices of a token.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from patchgate import _ops
from patchgate._tensors import arange, whole
from patchgate.merging.settings import MergeSettings
from patchgate.merging.window import Window


def links(window: Window, settings: MergeSettings) -> tuple[Tensor, Tensor]:
    """Links each token to the nearest of its choices. Links lead back in time, and form no circle.

    A token may choose among these: the tokens that the frame before showed in its cell and around
    it; the last few tokens of its own cell; the token that its scene showed there when it was last
    seen; with ``spatial``, the tokens to its left and above; with ``similar``, every second token
    of its frame.

    Returns:
        The linked token, ``[K]`` int64, -1 for none; and the squared distance to it, ``[K]``
        float32, infinite for none.
    """
    link = torch.full_like(window.frame, -1)
    distance = torch.full_like(link, torch.inf, dtype=torch.float32)
    own = arange(window.carried, len(link))  # [Q]
    choices = _choices(window, settings, own)  # [Q, n]
    begin = arange(len(own)) * choices.shape[1]
    found = _nearest(window, own, choices.flatten(), begin, begin + choices.shape[1])
    link[own], distance[own] = found
    if settings.similar:
        _match(window, own, link, distance)
    return link, distance


def _nearest(window: Window, *choice: Tensor) -> tuple[Tensor, Tensor]:
    """Calls ``nearest_token`` on the device of the features."""
    on = window.features.device
    nearest, distance = _ops.nearest_token(window.features, *(x.to(on) for x in choice))
    return nearest.cpu(), distance.cpu()


def _choices(window: Window, settings: MergeSettings, own: Tensor) -> Tensor:
    """Returns the earlier tokens that each may choose, ``[Q, n]`` int64, negative for none."""
    frame, (row, column) = window.frame[own], window.cell[own].unbind(1)  # [Q] each
    furthest = max(1, *window.source.shape[1:]) - 1
    reach = 0 if _own_cell_only(settings) else min(settings.reach, furthest)
    found = [_shown_before(window, reach, own)]
    found += [earlier[:, None] for earlier in _earlier(window, settings.memory)]
    if len(window.pictures):
        picture = window.returned[frame]  # [Q]
        back = window.pictures[picture.clamp(min=0), row, column]
        found.append(torch.where(picture >= 0, back, -1)[:, None])
    if settings.spatial and not settings.similar:
        beside = pad(window.source, (1, 0, 1, 0), value=-1)  # [T, h + 1, w + 1]
        found += [beside[frame, row + 1, column, None], beside[frame, row, column + 1, None]]
    choices = torch.cat(found, 1)
    known = choices.clamp(min=0)
    allowed = (choices >= 0) & (choices < own[:, None])
    if settings.delta is not None:
        allowed &= window.label[known] == window.label[own, None]
    if settings.keep_grid:
        block = window.cell // settings.block  # [K, 2]
        allowed &= (block[known] == block[own, None]).all(2)
    return torch.where(allowed, choices, -1)


def _own_cell_only(settings: MergeSettings) -> bool:
    return settings.keep_grid and settings.block == 1


def _shown_before(window: Window, reach: int, own: Tensor) -> Tensor:
    """Returns what the frame before showed in each token's cell and around it, ``[Q, n]`` int64."""
    before = pad(window.before, (reach,) * 4, value=-1)  # [T, h + 2 * reach, w + 2 * reach]
    _, height, width = before.shape
    row, column = (window.cell[own] + reach).unbind(1)
    place = (window.frame[own] * height + row) * width + column  # [Q]
    steps = whole([dy * width + dx for dy, dx in _around(reach)])
    return before.flatten()[place[:, None] + steps]


def _around(reach: int) -> list[tuple[int, int]]:
    """Returns steps down and across, the shortest first."""
    side = range(-reach, reach + 1)
    return sorted(
        ((dy, dx) for dy in side for dx in side), key=lambda s: (abs(s[0]) + abs(s[1]), s)
    )


def _earlier(window: Window, memory: int) -> list[Tensor]:
    """Returns the token before each one in its own cell, the one before that, and so on.

    Each is ``[Q]`` int64, -1 for none.
    """
    place = window.cell[:, 0] * window.source.shape[2] + window.cell[:, 1]  # [K]
    order = place.argsort(stable=True)
    found = []
    for back in range(1, min(memory, len(place) - 1) + 1):
        then, now = order[:-back], order[back:]
        earlier = torch.full_like(place, -1)
        earlier[now] = torch.where(place[then] == place[now], then, -1)
        found.append(earlier[window.carried :])
    return found


def _match(window: Window, own: Tensor, link: Tensor, distance: Tensor) -> None:
    """Links every second token of each frame to one of the others, in place, if that is nearer.

    This is bipartite soft matching (Token Merging, arXiv 2210.09461, section 3). The others link
    only to earlier frames, so that links form no circle.
    """
    frame = window.frame[own]
    start = torch.searchsorted(frame, frame)  # [Q]: the first token of each one's frame
    odd = (arange(len(own)) - start) % 2 == 1
    joins, stands = own[odd], own[~odd]
    ends = [torch.searchsorted(window.frame[stands], frame[odd], right=r) for r in (False, True)]
    near, squares = _nearest(window, joins, stands, *ends)
    same = window.label[near.clamp(min=0)] == window.label[joins]
    better = same & (squares < distance[joins])
    link[joins[better]], distance[joins[better]] = near[better], squares[better]
