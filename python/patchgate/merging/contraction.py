"""Chooses which links are joined: the cheapest ones, until the budget is met.

Letters: K tokens.
"""

import math

import torch
from torch import Tensor

from patchgate import _ops
from patchgate._tensors import arange
from patchgate.merging.budget import Need
from patchgate.merging.links import links
from patchgate.merging.settings import MergeSettings
from patchgate.merging.window import Window, numbering


def plan(window: Window, need: Need, settings: MergeSettings) -> Tensor:
    """Returns the token that represents each token, ``[K]`` int64.

    Raises:
        ValueError: the links do not allow to meet the budget.
    """
    tokens, threshold = len(window.frame), settings.threshold
    name, at = arange(tokens), arange(tokens)  # the old number of each token left; the new of each
    bin, room, most, _ = need
    while most > 0:
        link, distance = links(window, settings)
        if settings.every_frame:
            link = _without_the_dearest(window, link, distance)
        able = torch.minimum(bin[link >= 0].bincount(minlength=len(room)), room)
        step = min(most, int(able.sum()))
        if need.exact and step < most and not (settings.similar and step):
            raise ValueError(_too_low(window, step, most, settings))
        root = _ops.contract(
            window.features.cpu(), window.weight, link, distance, bin, room, step,
            math.inf if threshold is None else threshold,
        )  # fmt: skip
        stays, number = numbering(root)
        name, at = name[stays], number[at]
        most -= step
        if not need.exact or not most:
            break
        room = room - bin[root != arange(len(root))].bincount(minlength=len(room))
        window, bin = window.joined(root), bin[stays]
    return name[at]


def _without_the_dearest(window: Window, link: Tensor, distance: Tensor) -> Tensor:
    """Removes the dearest link of each frame in which all tokens have one."""
    own = arange(window.carried, len(link))
    frame = window.frame[own]
    linked = link[own] >= 0
    free = torch.zeros(len(window.source), dtype=torch.bool, device="cpu")
    free[frame[~linked]] = True  # a token without a link stays in these frames
    price = window.weight[own] * distance[own]
    # Sorted by frame, then by price: the last link of each frame is the dearest.
    order = price.flip(0).argsort(stable=True)
    order = len(own) - 1 - order
    order = order[frame[order].argsort(stable=True)]
    last = torch.ones(len(own), dtype=torch.bool, device="cpu")
    last[:-1] = frame[order].diff() != 0
    dearest = order[last]
    dearest = dearest[~free[frame[dearest]]]
    return link.index_fill(0, own[dearest], -1)


def _too_low(window: Window, able: int, most: int, settings: MergeSettings) -> str:
    asked = "budget" if settings.ratio is None else "ratio"
    own = len(window.frame) - window.carried
    found = [f"of {own} tokens at most {able} can join another, but {most} would have to"]
    if most == own and not window.carried:
        # No setting can change that.
        return f"{asked}: {found[0]}; the first has none before it and always stays"
    if not settings.spatial and not settings.similar:
        found.append("spatial=True or similar=True joins cells of a frame")
    if settings.keep_grid:
        found.append("keep_grid=False joins cells of different blocks")
    if len(window.label.unique()) > 1:
        found.append("delta=None joins tokens of different scenes")
    if settings.every_frame:
        found.append("every_frame=False leaves frames without a token")
    return f"{asked}: {'; '.join(found)}"
