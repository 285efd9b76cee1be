"""The rule of a frame's light once more, from docs/gate.md alone: whole numbers of Python."""

from fractions import Fraction

import numpy as np
from gate_oracle_cell import Array, Vector

ONE = 4096
Weights = list[tuple[int, int]]  # gain and offset of every plane, in 4096ths
Ledger = list[list[int]]  # of every plane: least and greatest gain, least and greatest mid-grey
FRESH = (ONE, ONE, 128 * ONE, 128 * ONE)


def rounded(value: Fraction) -> int:
    return int((value + Fraction(1, 2)).__floor__())


def weighed(block: Array, weights: tuple[int, int]) -> Array:
    gain, offset = weights
    return np.clip((block * gain + offset + ONE // 2) // ONE, 0, 255)


def samples(plane: Array, at: Vector, p: int) -> list[int]:
    """Sixteen of a cell's pixels."""
    places = [(2 * i + 1) * p // 8 for i in range(4)]
    return [int(plane[at[0] * p + y, at[1] * p + x]) for y in places for x in places]


def glanced(h: int, w: int) -> list[Vector]:
    """The places at which the light is looked for first."""
    return [
        ((2 * i + 1) * h // 64, (2 * int(f"{i:05b}"[::-1], 2) + 1) * w // 64) for i in range(32)
    ]


def weights_of(new: Array, picture: Array, cells: list[Vector], p: int) -> Weights:
    """Of all planes of ``[f, C, H, W]``; the first plane of each frame decides about its others."""
    first = [at for at in glanced(*(side // p for side in new.shape[2:])) if at in cells]
    found: Weights = []
    for now, then in zip(new, picture, strict=True):
        for c in range(len(now)):
            luma = found[-c] if c else _fit(_pairs(now[0], then[0], first, p), 7)
            if luma == (ONE, 0):
                found.append(luma)
                continue
            found.append(_fit(_pairs(now[c], then[c], cells, p), 6))
    return found


def _pairs(now: Array, then: Array, cells: list[Vector], p: int) -> list[list[tuple[int, int]]]:
    return [list(zip(samples(then, at, p), samples(now, at, p), strict=True)) for at in cells]


def _fit(cells: list[list[tuple[int, int]]], eighths: int) -> tuple[int, int]:
    """Of pairs (before, now): least squares, thrice without the worst quarter."""
    if not cells:
        return ONE, 0
    kept = cells
    for _ in range(3):
        line = _line([pair for cell in kept for pair in cell])
        errors = sorted(_error(cell, line) for cell in cells)
        worst = max(errors[3 * (len(errors) - 1) // 4], 16)
        kept = [cell for cell in cells if _error(cell, line) <= worst]
    line = _line([pair for cell in kept for pair in cell])
    before = sum(min(_error(cell, (ONE, 0)), 1024) for cell in cells)
    after = sum(min(_error(cell, line), 1024) for cell in cells)
    return line if before and Fraction(after, before) <= Fraction(eighths, 8) else (ONE, 0)


def _line(pairs: list[tuple[int, int]]) -> tuple[int, int]:
    n = len(pairs)
    mean_x = Fraction(sum(x for x, _ in pairs), n)
    mean_y = Fraction(sum(y for _, y in pairs), n)
    variance = sum((x - mean_x) ** 2 for x, _ in pairs) / n
    gain = ONE
    if variance >= 4:
        slope = sum((x - mean_x) * (y - mean_y) for x, y in pairs) / n / variance
        gain = min(max(rounded(ONE * slope), ONE // 4), 4 * ONE)
    return gain, rounded(ONE * mean_y - gain * mean_x)


def _error(cell: list[tuple[int, int]], line: tuple[int, int]) -> int:
    squares = sum((ONE * y - line[0] * x - line[1]) ** 2 for x, y in cell)
    return min(squares // ONE**2, 2**24 - 1)


def composed(ledger: Ledger, weights: Weights) -> Ledger:
    out = []
    for parts, (gain, offset) in zip(ledger, weights, strict=True):
        scaled = [rounded(Fraction(part * gain, ONE)) for part in parts]
        out.append([*scaled[:2], *(part + offset for part in scaled[2:])])
    return out


def widest(ledgers: list[Ledger]) -> Ledger:
    out = []
    for parts in zip(*ledgers, strict=True):  # of one plane
        a, b, c, d = zip(*parts, strict=True)
        out.append([min(a), max(b), min(c), max(d)])
    return out


def is_too_far(ledger: Ledger) -> bool:
    return any(
        not (2867 <= low <= high <= 5851 and 88 * ONE <= dark <= light <= 168 * ONE)
        for low, high, dark, light in ledger
    )
