"""Refinements of the gate, to be tried: other ways to say a cell by what the receiver has.

Each is one half sender (``tell``: what to say of every cell) and one half receiver (``predict``:
what was said, as pixels; ``settle``: what both remember of a frame). ``refined.py`` closes the
loop, so that the guarantee of docs/gate.md holds whatever is told.

Letters: N cells of a frame, C planes, H W pixels, p cell side, d cells remembered.
"""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from patchgate.gate import CHANGED
from patchgate.reference.gate_motion import Rules, blocks_at, cell_corners, cost_of


class Prediction(Protocol):
    """One refinement; an object serves one stream, on one side."""

    renews: bool  # static cells take it too, where it is nearer than what stands there

    def tell(self, now: Tensor, picture: Tensor, unexplained: Tensor, rules: Rules) -> Tensor:
        """What to send, from the frame's cells ``[N, C, p, p]`` and the picture ``[C, H, W]``."""
        ...

    def predict(self, picture: Tensor, told: Tensor, cell: int) -> Tensor:
        """Every cell as told, ``[N, C, p, p]``."""
        ...

    def settle(self, taken: Tensor, told: Tensor, kind: Tensor, cells: Tensor) -> None:
        """After a frame: who took it ``[N]``, all kinds ``[N]``, the new cells ``[N, C, p, p]``."""
        ...


def corners_of(picture: Tensor, cell: int) -> Tensor:
    """Sums over the cells of ``[.., H, W]``: ``[N, 2]``."""
    height, width = picture.shape[-2:]
    return cell_corners(height // cell, width // cell, cell, picture.device)


def costs(now: Tensor, then: Tensor, rules: Rules) -> Tensor:
    """The gate's, of cells ``[n, C, p, p]``: ``[n]``."""
    return cost_of(now[:, None], then[:, None], rules.sub_block).long()


# --- weighted prediction: fades ---------------------------------------------------------------

ONE = 64  # the gain's unit: H.264's explicit weighted prediction at its finest for gains up to 2
_ROUNDS, _TRIMMED = 4, 0.25  # of the fit: rounds, and the share of worst cells left out in each
_FLAT = 1.0  # variance of grey levels below which no gain can be told from noise


class Weighted:
    """A cell is gain x reference + offset, per plane, with one pair for the whole frame."""

    # Cells that follow every step of a frame-wide fade stay of one age: one pair fits all.
    renews = True

    def tell(self, now: Tensor, picture: Tensor, unexplained: Tensor, rules: Rules) -> Tensor:
        """Gain in 64ths and offset, ``[1, C, 2]``."""
        then = blocks_at(picture, corners_of(picture, rules.cell), rules.cell)
        gain, offset = _trimmed_fit(_Means.of(then.double(), now.double()))
        return torch.stack([gain, offset], -1).int()

    def predict(self, picture: Tensor, told: Tensor, cell: int) -> Tensor:
        then = blocks_at(picture, corners_of(picture, cell), cell).int()
        gain, offset = (each[..., None, None] for each in told.unbind(-1))  # [1, C, 1, 1]
        return (((then * gain + ONE // 2) >> 6) + offset).clamp(0, 255).to(torch.uint8)

    def settle(self, taken: Tensor, told: Tensor, kind: Tensor, cells: Tensor) -> None:
        """The picture is all there is to remember."""


class _Means(NamedTuple):
    """All that a least-squares line of y over x needs, ``[N, C]`` each."""

    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    yy: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> "_Means":
        """Over the pixels of cells ``[N, C, p, p]``."""
        return cls(*(each.mean((2, 3)) for each in (x, y, x * x, x * y, y * y)))

    def over(self, cells: Tensor) -> "_Means":
        """The weights of the cells of a mask ``[N, C]`` together, ``[1, C]`` each."""
        share = cells.double() / cells.sum(0)
        return _Means(*((each * share).sum(0, keepdim=True) for each in self))

    def fit(self) -> tuple[Tensor, Tensor]:
        """Gain in 64ths, as H.264 bounds it, and offset in grey levels: whole numbers."""
        variance = self.xx - self.x**2
        gain = (self.xy - self.x * self.y) / variance.clamp(min=_FLAT)
        gain = torch.where(variance < _FLAT, 1.0, gain).mul(ONE).round().clamp(0, 127)
        return gain, (self.y - gain / ONE * self.x).round().clamp(-128, 127)

    def error(self, gain: Tensor, offset: Tensor) -> Tensor:
        """Mean square of what the line leaves."""
        a = gain / ONE
        return (self.yy + a**2 * self.xx + offset**2
                - 2 * (a * self.xy + offset * self.y - a * offset * self.x))  # fmt: skip


def _trimmed_fit(means: _Means) -> tuple[Tensor, Tensor]:
    """One line per plane through all cells but those that it fits worst."""
    kept = torch.ones_like(means.x, dtype=torch.bool)
    for _ in range(_ROUNDS):
        gain, offset = means.over(kept).fit()
        error = means.error(gain, offset)
        worst = error.sort(0).values[int((len(error) - 1) * (1 - _TRIMMED))]
        kept = error <= worst
    return gain, offset


# --- a long-term reference: windows that return -----------------------------------------------


class Recalled:
    """A cell is one of the last few that were encoded at its place."""

    renews = False

    def __init__(self, depth: int) -> None:
        self._depth = depth  # beside the one in the picture
        self._memory: Tensor | None = None  # [d + 1, N, C, p, p], the last used first

    def tell(self, now: Tensor, picture: Tensor, unexplained: Tensor, rules: Rules) -> Tensor:
        """Which one, ``[N]``: 0 is the last that was used."""
        assert self._memory is not None
        wanted = unexplained.nonzero().flatten()
        offered = [costs(now[wanted], then[wanted], rules) for then in self._memory]
        told = torch.zeros(len(now), dtype=torch.long)
        told[wanted] = torch.stack(offered).argmin(0)
        return told

    def predict(self, picture: Tensor, told: Tensor, cell: int) -> Tensor:
        assert self._memory is not None
        return self._memory[told, torch.arange(len(told))]

    def settle(self, taken: Tensor, told: Tensor, kind: Tensor, cells: Tensor) -> None:
        if self._memory is None:  # the first frame is all that there is to recall
            self._memory = cells.repeat(self._depth + 1, 1, 1, 1, 1)
            return
        used = taken | (kind == CHANGED)
        gone = torch.where(taken, told, self._depth)[used]  # [n] makes room: itself, or the oldest
        own = self._memory[:, used]  # [d + 1, n, C, p, p]
        older = torch.arange(1, self._depth + 1)[:, None]
        shifted = torch.where(older <= gone, older - 1, older)  # [d, n]
        rest = own[shifted, torch.arange(own.shape[1])]
        self._memory[:, used] = torch.cat([cells[used][None], rest])
