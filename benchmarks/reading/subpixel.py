"""Motion to a quarter of a pixel, for cameras that move by less than one: a refinement to be tried.

Letters: N cells of a frame, n some of them, C planes, H W pixels, p cell side.
"""

import torch
from torch import Tensor

from patchgate.reference.gate_motion import UNTESTED, Rules, dominant_motion, search, textured
from reading.predictions import corners_of, costs

QUARTERS = 4  # of a pixel
_ASKED = 64  # cells, for the camera's motion


class SubPixel:
    """A cell is another place of the picture, to a quarter of a pixel, near the camera's motion.

    Args:
        reach: quarters of a pixel around the dominant vector that are tried.
    """

    renews = False

    def __init__(self, reach: int = 2) -> None:
        self._reach = reach

    def tell(self, now: Tensor, picture: Tensor, unexplained: Tensor, rules: Rules) -> Tensor:
        """A vector in quarters, ``[N, 2]``; where none is legal, (0, 0)."""
        corners = corners_of(picture, rules.cell)
        told = torch.zeros_like(corners)
        wanted = unexplained.nonzero().flatten()
        if not len(wanted):
            return told
        fine = upsampled(picture)
        dominant = self._dominant(now, picture, fine, unexplained, rules)
        best = torch.full_like(wanted, UNTESTED)
        for vector in _around(dominant, self._reach):
            cost = _tried(now, fine, corners, wanted, vector, rules)
            better = cost < best
            best[better] = cost[better]
            told[wanted[better]] = told.new_tensor(vector)
        return told

    def predict(self, picture: Tensor, told: Tensor, cell: int) -> Tensor:
        at = QUARTERS * corners_of(picture, cell) + told
        return sampled(upsampled(picture), at, cell)

    def settle(self, taken: Tensor, told: Tensor, kind: Tensor, cells: Tensor) -> None:
        """The picture is all there is to remember."""

    def _dominant(
        self, now: Tensor, picture: Tensor, fine: Tensor, unexplained: Tensor, rules: Rules
    ) -> tuple[int, int]:
        """The camera's motion in quarters: the mode over some textured cells, passing or not.

        At half a pixel no whole vector passes, so that those that pass cannot be asked alone.
        """
        corners = corners_of(picture, rules.cell)
        able = textured(now[:, None], rules).nonzero().flatten()
        if not len(able):
            return 0, 0
        asked = torch.zeros_like(unexplained)
        asked[able[:: -(-len(able) // _ASKED)]] = True
        moving, still = asked & unexplained, asked & ~unexplained
        if still.sum() >= moving.sum():
            return 0, 0  # outvoted, whatever the others say: no need to search
        whole, _ = search(now[:, None], picture[None], corners, moving, rules)
        dy, dx = dominant_motion(whole[moving], still)
        some = moving.nonzero().flatten()
        near = _around((QUARTERS * dy, QUARTERS * dx), QUARTERS - 1)
        offered = [_tried(now, fine, corners, some, vector, rules) for vector in near]
        best = torch.tensor(near)[torch.stack(offered).argmin(0)]
        return dominant_motion(best, torch.zeros(1))


def _around(centre: tuple[int, int], reach: int) -> list[tuple[int, int]]:
    """Vectors near one, the nearest first."""
    span = range(-reach, reach + 1)
    steps = sorted(
        ((dy, dx) for dy in span for dx in span), key=lambda v: (abs(v[0]) + abs(v[1]), v)
    )
    return [(centre[0] + dy, centre[1] + dx) for dy, dx in steps]


def _tried(
    now: Tensor,
    fine: Tensor,
    corners: Tensor,
    wanted: Tensor,
    vector: tuple[int, int],
    rules: Rules,
) -> Tensor:
    """The cost ``[n]`` of one vector for some cells; what leaves the picture costs the most."""
    at = QUARTERS * corners[wanted] + corners.new_tensor(vector)
    last = corners.new_tensor(fine.shape[-2:]) - rules.cell
    legal = ((at >= 0) & (at <= QUARTERS * last)).all(-1)
    cost = torch.full_like(wanted, UNTESTED)
    then = sampled(fine, at[legal], rules.cell)
    cost[legal] = costs(now[wanted[legal]], then, rules)
    return cost


def upsampled(picture: Tensor) -> Tensor:
    """``[4, 4, C, H, W]`` of ``[C, H, W]``: at every quarter of a pixel down and right of each.

    Halves by H.264's six taps (1, -5, 20, 20, -5, 1), quarters the mean of their neighbours; edges
    are repeated. Unlike in H.264, rows and columns are filtered one after the other throughout.
    """
    down = torch.stack(_quarters(picture.short(), -2))  # [4, C, H, W]
    return torch.stack(_quarters(down, -1), 1).to(torch.uint8)


def _quarters(values: Tensor, dim: int) -> list[Tensor]:
    """int16 values at 0, 1/4, 1/2 and 3/4 of the way to the next along a dimension."""
    n = values.shape[dim]
    first, last = values.narrow(dim, 0, 1), values.narrow(dim, n - 1, 1)
    wide = torch.cat([first, first, values, last, last, last], dim)
    a, b, c, d, e, f = (wide.narrow(dim, k, n) for k in range(6))
    half = ((20 * (c + d) - 5 * (b + e) + (a + f) + 16) >> 5).clamp(0, 255)
    return [values, (values + half + 1) >> 1, half, (half + d + 1) >> 1]


def sampled(fine: Tensor, at: Tensor, cell: int) -> Tensor:
    """Blocks of ``[4, 4, C, H, W]`` at places in quarters ``[n, 2]``: ``[n, C, p, p]``."""
    span = torch.arange(cell)
    whole, part = at // QUARTERS, at % QUARTERS
    rows = (whole[:, 0, None] + span)[:, :, None]  # [n, p, 1]
    columns = (whole[:, 1, None] + span)[:, None]  # [n, 1, p]
    down, right = (part[:, i, None, None] for i in (0, 1))
    return fine[down, right, :, rows, columns].movedim(-1, 1)
