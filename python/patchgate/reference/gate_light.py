"""The light of a frame: one gain and one offset a plane, by which the reference picture follows it.

The idea is weighted prediction (ITU-T H.264, 8.4.2.3); the weights are those of least trimmed
squares (P. J. Rousseeuw, "Least median of squares regression", 1984), found by concentration steps
(P. J. Rousseeuw and K. Van Driessen, "Computing LTS regression for large data sets", 2006), all in
integers. docs/gate.md has the rule in words.

Letters: f frames of a tubelet, C planes, P = f * C, H W pixels, h w cells, N = h * w, n some of the
cells, p cell side.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.reference.gate_motion import Rules, blocks_at, cell_corners, cost_of, paste_blocks

BITS = 12
ONE = 1 << BITS  # a gain of 1, and an offset of one grey level
SIDE = 4  # samples of a cell across and down
SAMPLES = SIDE * SIDE
QUORUM = 8  # the light is looked for if one cell in so many is in doubt
MOST_CELLS = 4096  # that are sampled
ROUNDS = 3  # of the fit, after the first line
GLANCE = 32  # places at which the light is looked for first
GLANCE_BITS = 5
GLANCE_LEAVES, LEAVES = 7, 6  # eighths of what there was that a line may leave
LEAST_GAIN, MOST_GAIN = ONE // 4, 4 * ONE  # of one frame
MOST_OFFSET = 4 * 255 * ONE  # of one frame
FLAT = 4  # a variance of samples below which no gain can be told from noise
SLACK = SAMPLES  # the squared error of a cell that is never left out: one grey level a sample
CAPPED = 64 * SAMPLES  # the squared error of a cell that counts at most
MOST_ERROR = (1 << 24) - 1
LEAST_TOTAL, MOST_TOTAL = ONE * 7 // 10, ONE * 10 // 7  # the gain since a token
MIDDLE = 128 * ONE  # mid-grey, in 4096ths of a level
MOST_SHIFT = 40 * ONE  # how far mid-grey may have gone from itself
ALWAYS = 2**31 - 1  # a limit that every cost passes
LEAST_OF_TOTALS = (ONE, ONE, MIDDLE, MIDDLE)  # least and greatest gain, and where mid-grey is


def weigh(values: Tensor, gain: Tensor, offset: Tensor) -> Tensor:
    """``gain * values + offset`` in grey levels, rounded half up, clamped to 0..255: uint8."""
    weighed = (gain * values.long() + offset + ONE // 2) >> BITS
    return weighed.clamp(0, 255).to(torch.uint8)


class Relit(NamedTuple):
    """What the light of a frame makes of the zero test."""

    weights: Tensor  # [P, 2] int64: gain and offset in 4096ths
    lit: Tensor  # [N] bool: cells of the reference that took them
    zero: Tensor  # [N] the costs of the zero test after that


def unlit(frame: Tensor, zero: Tensor) -> Relit:
    """The light of ``frame [f, C, H, W]`` has not changed."""
    weights = zero.new_tensor([ONE, 0]).expand(frame.shape[0] * frame.shape[1], 2)
    return Relit(weights, torch.zeros_like(zero, dtype=torch.bool), zero)


def relight(
    frame: Tensor,  # [f, C, H, W]
    picture: Tensor,  # [f, C, H, W], changed in place
    light: Tensor,  # [f, C, 4, h, w], changed in place
    zero: Tensor,  # [N]
    limits: Tensor,  # [N]
    rules: Rules,
) -> Relit:
    """Finds the light of a frame, and brings the cells of the reference that follow it to it.

    Args:
        zero: the costs of the zero test. limits: those of the cells before noise is looked at.
    """
    f, c = frame.shape[:2]
    h, w = light.shape[3:]
    corners = cell_corners(h, w, rules.cell, frame.device)  # [N, 2]
    doubtful = 2 * zero > limits
    if QUORUM * int(doubtful.sum()) < h * w:
        return unlit(frame, zero)
    stride = -(-h * w // MOST_CELLS)
    wanted = doubtful & (arange(h * w, device=frame.device) % stride == 0)
    if not bool(wanted.any()):
        return unlit(frame, zero)
    glanced = glance_places(h, w, frame.device)  # [32]
    glanced = glanced[doubtful[glanced]]
    weights = _weights(frame, picture, corners[wanted], corners[glanced], rules.cell)  # [P, 2]
    if bool((weights == weights.new_tensor([ONE, 0])).all()):
        return unlit(frame, zero)

    then = blocks_at(picture, corners, rules.cell)  # [N, f, C, p, p]
    now = blocks_at(frame, corners, rules.cell)
    gain, offset = (each.reshape(f, c, 1, 1) for each in weights.unbind(-1))
    weighed = weigh(then, gain, offset)
    cost = cost_of(now, weighed, rules.sub_block)
    composed = compose(light, weights)
    # A cell that still equals its reference keeps it, unless the light brings it nearer, and not
    # too far from its token's own: it would be encoded for that.
    nearer = (cost < zero) & ~too_far(composed).flatten()
    lit = (nearer | (zero > limits)) & (limits < ALWAYS)
    paste_blocks(picture, torch.where(lit.view(-1, 1, 1, 1, 1), weighed, then), corners, rules.cell)
    light.copy_(torch.where(lit.view(h, w), composed, light))
    return Relit(weights, lit, torch.where(lit, cost, zero))


def glance_places(h: int, w: int, device: torch.device) -> Tensor:
    """The cells at which the light is looked for first: ``[32]`` int64, Hammersley's points."""
    numbers = [(i, int(f"{i:0{GLANCE_BITS}b}"[::-1], 2)) for i in range(GLANCE)]
    places = [
        (2 * i + 1) * h // (2 * GLANCE) * w + (2 * mirrored + 1) * w // (2 * GLANCE)
        for i, mirrored in numbers
    ]
    return torch.tensor(places, dtype=torch.int64, device=device)


def _weights(frame: Tensor, picture: Tensor, corners: Tensor, glanced: Tensor, cell: int) -> Tensor:
    """Gain and offset of every plane, ``[P, 2]``, from the cells at ``corners [n, 2]``.

    Each frame's first plane decides whether its light has changed: in the cells at ``glanced`` at
    first.
    """
    planes = []
    same = corners.new_tensor([ONE, 0])
    for now, then in zip(frame, picture, strict=True):  # [C, H, W] each
        own: list[Tensor] = []
        for x, y in zip(then, now, strict=True):
            first = own[0] if own else _fitted(CellSums.of(x, y, glanced, cell), GLANCE_LEAVES)
            changed = bool((first != same).any())
            own.append(_fitted(CellSums.of(x, y, corners, cell), LEAVES) if changed else same)
        planes += own
    return torch.stack(planes)


@dataclass
class CellSums:
    """Sums over the samples of each cell, in the reference (x) and the frame (y): ``[n]`` int64."""

    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor

    @classmethod
    def of(cls, then: Tensor, now: Tensor, corners: Tensor, cell: int) -> "CellSums":
        """Adds up a lattice of 4 x 4 samples a cell of one plane ``[H, W]``."""
        at = (2 * arange(SIDE, device=corners.device) + 1) * cell // (2 * SIDE)  # [4]
        rows, columns = corners[:, 0, None, None] + at[:, None], corners[:, 1, None, None] + at
        x, y = (plane[rows, columns].long().flatten(1) for plane in (then, now))  # [n, 16]
        return cls(*(each.sum(1) for each in (x, y, x * x, x * y, y * y)))

    def line(self, kept: Tensor) -> tuple[int, int]:
        """The line of least squares through the samples of some cells ``[n]``: gain, offset."""
        x, y, xx, xy = (int(each[kept].sum()) for each in (self.x, self.y, self.xx, self.xy))
        n = SAMPLES * int(kept.sum())
        across = n * xx - x * x  # n^2 times the variance
        gain = ONE
        if across >= FLAT * n * n:
            gain = _divided(ONE * (n * xy - x * y), across)
            gain = min(max(gain, LEAST_GAIN), MOST_GAIN)
        return gain, _divided(ONE * y - gain * x, n)

    def error(self, gain: int, offset: int) -> Tensor:
        """The sum of squares that a line leaves of each cell, in whole squared levels: ``[n]``."""
        squares = (self.yy << 2 * BITS) + gain * gain * self.xx + SAMPLES * offset * offset
        mixed = gain * ONE * self.xy + offset * ONE * self.y - gain * offset * self.x
        return ((squares - 2 * mixed) >> 2 * BITS).clamp(max=MOST_ERROR)


def _divided(a: int, b: int) -> int:
    """``a / b`` rounded half up, of a positive b."""
    return (2 * a + b) // (2 * b)


def _fitted(sums: CellSums, eighths: int) -> Tensor:
    """One line through all cells but the quarter that it fits worst: ``[2]``; (1, 0) if there is
    none, or if it leaves more than some eighths of what there was.
    """
    n = len(sums.x)
    if not n:
        return sums.x.new_tensor((ONE, 0))
    kept = torch.ones_like(sums.x, dtype=torch.bool)
    for _ in range(ROUNDS):
        error = sums.error(*sums.line(kept))
        worst = max(int(error.sort().values[3 * (n - 1) // 4]), SLACK)
        kept = error <= worst
    weights = sums.line(kept)
    before, after = (int(sums.error(*each).clamp(max=CAPPED).sum()) for each in ((ONE, 0), weights))
    helps = 8 * after <= eighths * before and before > 0
    return sums.x.new_tensor(weights if helps else (ONE, 0))


def compose(light: Tensor, weights: Tensor) -> Tensor:
    """What cells have gone through since they were encoded, after another frame's weights.

    Args:
        light: ``[f, C, 4, ..]`` int32: of a cell's pixels the least and the greatest gain, then the
            least and the greatest level that mid-grey was brought to, in 4096ths.
        weights: ``[P, 2]`` int64.
    """
    shape = (*light.shape[:2], 1, *[1] * (light.dim() - 3))
    gain, offset = (each.reshape(shape) for each in weights.unbind(-1))
    scaled = (light.long() * gain + ONE // 2) >> BITS
    scaled[:, :, 2:] += offset
    return scaled.int()


def too_far(light: Tensor) -> Tensor:
    """Which cells show a token in a light too far from its own: ``[..]`` bool of [f, C, 4, ..]."""
    gain, middle = light[:, :, :2], light[:, :, 2:]  # [f, C, 2, ..]
    wrong = (gain < LEAST_TOTAL) | (gain > MOST_TOTAL) | ((middle - MIDDLE).abs() > MOST_SHIFT)
    return wrong.flatten(0, 2).any(0)


def brought(light: Tensor, corners: Tensor, whole: Tensor, cell: int) -> Tensor:
    """What displaced blocks have gone through: ``[f, C, 4, N]``, the widest of the cells below.

    Args:
        light: ``[f, C, 4, h, w]``.
        corners: ``[N, 2]``.
        whole: ``[N, 2]``, their vectors, in whole pixels.
    """
    first = (corners + whole) // cell
    last = (corners + whole + cell - 1) // cell
    ends = (first, last)
    below = [light[:, :, :, rows[:, 0], columns[:, 1]] for rows in ends for columns in ends]
    every = torch.stack(below)  # [4, f, C, 4, N]
    least, greatest = every.amin(0), every.amax(0)
    return torch.stack([least[:, :, 0], greatest[:, :, 1], least[:, :, 2], greatest[:, :, 3]], 2)


def fresh(light: Tensor) -> Tensor:
    """What a cell has gone through that was just encoded: ``[1, 1, 4, 1]``."""
    return light.new_tensor(LEAST_OF_TOTALS).view(1, 1, 4, 1)
