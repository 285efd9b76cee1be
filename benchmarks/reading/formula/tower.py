"""The reader's encoder on kept cells: how a tower that the library does not know is gated.

Its convolutions see far beyond a cell, and their group norms see the whole picture. They are
therefore computed for every frame that keeps a cell, and what leaves them stands for the cell's
pixels: ``gated`` saves what comes after. A cell that was not kept shows what left them when it was.

Letters: T frames, K kept cells, R packed rows, N cells of a frame, D features, d features of a
head, H W pixels, h w cells.
"""

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

import patchgate
from patchgate.encoders.families import FAMILIES, structure
from patchgate.encoders.gated.tower import GatedTower, TowerStream
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.packed import Kept
from patchgate.encoders.run.session import Session
from patchgate.encoders.run.work import Work
from patchgate.encoders.tower import Tower
from patchgate.gate import CHANGED, STATIC, Gate, GateResult
from reading.formula.encoder import HEADS, LARGEST, MEAN, STD, WIDTH, FormulaEncoder
from reading.formula.stem import PATCH


class FormulaTower(Tower):
    """Grey pictures ``[T, 1, H, W]`` of whole cells, up to the largest."""

    names = ("FormulaEncoder",)
    prefix = 1
    patch = PATCH
    size = LARGEST  # until it is opened for a picture

    @property
    def projection(self) -> Any:
        return self.model.patch_embed.proj

    @property
    def depth(self) -> int:
        return len(self.model.blocks)

    def sized(self, height: int, width: int) -> Self:
        if height % PATCH or width % PATCH or not 0 < height <= LARGEST[0] or width > LARGEST[1]:
            raise ValueError(
                f"pixel_values: expected sides of whole cells of {PATCH} pixels, up to "
                f"{LARGEST[0]} x {LARGEST[1]}, got {height} x {width}"
            )
        tower = copy.copy(self)
        tower.size = height, width
        return tower

    def opened(self, pixel_values: Tensor, options: dict[str, Any]) -> tuple[Tower, Tensor]:
        grey = pixel_values.expand(-1, 3, -1, -1)  # the gate compares RGB
        return super().opened(grey, options)

    def rows(self, frames: Tensor, index: Tensor) -> Tensor:
        """What leaves the convolutions at some cells, ``[K, 1024]``."""
        number, cell = index // self.cells, index % self.cells
        wanted, place = number.unique(return_inverse=True)
        features = self.model.patch_embed.backbone(frames[wanted, :1])  # [F, 1024, h, w]
        return features.flatten(2)[place, :, cell]

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        return self.embedded(rows) + self._positions()[1 + cell]

    def prefix_tokens(self) -> Tensor:
        return self.model.cls_token[0] + self._positions()[:1]

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        block = self.model.blocks[layer]
        heads: tuple[Tensor, Tensor, Tensor] = block.attn.heads(block.norm1(x))
        return heads

    def scale(self, layer: int) -> float:
        return float((WIDTH // HEADS) ** -0.5)

    def projections(self, layer: int) -> tuple[nn.Module, ...]:
        return (self.model.blocks[layer].attn.proj,)

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        block = self.model.blocks[layer]
        x = x + self.added(layer, attended)
        return x + block.mlp(block.norm2(x))

    def layer_flops(self, layer: int) -> float:
        return structure.linear_flops(self.model.blocks[layer])

    def leave(self, rows: Tensor) -> Tensor:
        return self.model.norm(rows)

    def output(
        self, features: Tensor, pooled: Tensor | None, states: Any, last: Tensor | None = None
    ) -> Tensor:
        """``[T, 1 + N, D]``, as the encoder gives it."""
        return features

    def check_mode(self) -> None:
        """It has no dropout."""

    def _positions(self) -> Tensor:
        return self.model.positions(*self.shape)


class GatedFormulaTower(GatedTower):
    """With the closed loop of ``tolerance`` begun one step earlier: a cell whose pixels stand still
    is kept, too, where what enters the first layer moved by more than ``tolerance`` (relative) from
    what it shows. Tolerance 0 is then the dense encoder, convolutions included, up to the gate's
    threshold: a frame that the gate takes for a repetition shows what was.
    """

    def _session(self) -> Session:
        return FormulaSession(self.fidelity, Gate.of(self.gate_settings))

    def stream(self) -> TowerStream:
        raise TypeError("stream: this tower goes through whole clips only")


class FormulaSession(Session):
    """Keeps what ``entering`` finds, too."""

    def kept(self, tower: Tower, frames: Tensor, result: GateResult) -> Kept:
        if self.fidelity.watches(0) or self.fidelity.refresh is not None:
            return entering(tower, frames, result, self.fidelity)
        return super().kept(tower, frames, result)


def entering(family: Tower, frames: Tensor, result: GateResult, fidelity: Fidelity) -> Kept:
    """Keeps, of a clip ``[T, 3, H, W]``, what the gate kept, where what enters the first layer
    moved by more than the tolerance, and every cell of a frame that is refreshed.
    """
    kind, source = result.kind.flatten(1), result.source.flatten(1)  # [T, N]
    (t, n), cell = kind.shape, torch.arange(kind.shape[1])
    anew = torch.arange(t) % (fidelity.refresh or t) == 0  # [T]
    computed = anew | (kind != STATIC).any(1)  # [T]: the picture is another
    number = (computed.cumsum(0) - 1) * n  # of a frame's first cell among those computed
    index = torch.arange(t * n).view(t, n)[computed].flatten()
    rows = family.rows(frames, index)  # [F * N, 1024]
    x = family.embed(rows, index % n)  # [F * N, D]
    place = family.embed(torch.zeros_like(rows[:n]), cell)  # [N, D]: a cell's own part of it
    mask = anew[:, None] | (kind == CHANGED)
    origin = torch.empty_like(source)  # [T, N]: which of the rows each cell shows
    stands_for = torch.empty(int(source.max()) + 1, dtype=torch.int64)  # of the gate's tokens
    for i in range(t):
        own = number[i] + cell
        stands_for[source[i][mask[i]]] = own[mask[i]]
        same = source[i] == source[i - 1] if i else torch.zeros(n, dtype=torch.bool)
        origin[i] = torch.where(same, origin[i - 1], stands_for[source[i]])
        if not computed[i]:
            continue
        shown = x[origin[i]] - place[origin[i] % n] + place  # where the cell is now
        moved = (x[own] - shown).norm(dim=1) > fidelity.tolerance * shown.norm(dim=1)
        mask[i] |= moved
        origin[i] = torch.where(mask[i], own, origin[i])
        stands_for[source[i][mask[i]]] = own[mask[i]]
    rank = mask[computed].flatten().cumsum(0) - 1  # [F * N]: tokens in order
    return Kept(rows[mask[computed].flatten()], mask, rank[origin], mask, int(mask.sum()))


def gated(encoder: FormulaEncoder, *, watched: bool = True, **settings: Any) -> GatedTower:
    """The reader's encoder, gated.

    Args:
        watched: whether what leaves the convolutions is, as ``GatedFormulaTower`` says; False: what
            ``patchgate.gated`` makes of it.
        settings: as ``patchgate.gated`` takes them.
    """
    if FormulaTower not in FAMILIES:
        FAMILIES.append(FormulaTower)
    tower = patchgate.gated(encoder, mean=(MEAN,) * 3, std=(STD,) * 3, **settings)
    assert isinstance(tower, GatedTower)
    if not watched:
        return tower
    family = FormulaTower(encoder)
    parts = (encoder, family, tower.pixel_spec, tower.gate_settings, tower.fidelity)
    return GatedFormulaTower(*parts)


def whole_work(encoder: FormulaEncoder, work: Work, height: int, width: int) -> tuple[float, float]:
    """Operations of a call and of the dense encoder, with those of the convolutions, which
    ``Work`` does not know: all of them for every frame that computed anything.
    """
    stem = encoder.patch_embed.backbone.flops(height, width)
    gated_flops = work.gated_flops + work.encoded_frames * stem
    return gated_flops, work.dense_flops + work.frames * stem
