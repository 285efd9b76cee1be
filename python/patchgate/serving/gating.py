"""A processor's patch rows of a video, gated: only those that the tower computes are kept.

Letters: T tubelets, f frames of a tubelet, N cells of a frame, m merge side, G cells whose pixels
the tower takes, C channels, P patch side, H W pixels.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from patchgate._tensors import arange, whole
from patchgate.colour import rgb_to_ycbcr
from patchgate.encoders.gated.pixels import gate_planes
from patchgate.encoders.patch_grid import PatchGrid
from patchgate.encoders.run.fidelity import Context
from patchgate.encoders.run.packed import Kept
from patchgate.encoders.run.session import Session, turns_of
from patchgate.gate import CHANGED
from patchgate.gate.longterm.turns import Turn
from patchgate.gather.pixel_spec import Triple
from patchgate.serving.budget import fitted, most_tokens
from patchgate.serving.settings import Geometry, ServingSettings

GIVEN = 8  # added to a cell's kind if its pixels are among the rows
_KIND = GIVEN - 1
_PLACES = 128  # more than a gate can remember pictures, and one more for none


class Normalised(NamedTuple):
    """How a processor normalised RGB of 0..1, if its rows are floats."""

    mean: Triple
    std: Triple


class GatedVideo(NamedTuple):
    """What is left of a video's patch rows, and what the gate calls each of its cells."""

    rows: Tensor  # [G * m * m, C * f * P * P], as the processor made them
    cells: Tensor  # [T * N] uint8: the cell's kind, plus ``GIVEN`` if its pixels are in ``rows``
    source: Tensor  # [T * N] int32: the token that explains each cell
    threshold: float  # the gate's, which a budget may have raised
    # [T] int32: what a gate with memory makes of each frame (``packed_turns``); None: no memory
    turns: Tensor | None = None

    @property
    def tokens(self) -> int:
        """The number of tokens that the video has in the prompt. Synchronises."""
        return int(kept_cells(self.cells).sum())

    def said(self, tubelets: int, patches: int) -> str:
        """Says what was kept of a video of T tubelets, of so many patches."""
        tokens, cells, rows = self.tokens, len(self.cells), len(self.rows)
        return (
            f"patchgate: a video of {tubelets} tubelets: {tokens} of {cells} tokens kept "
            f"({100 * tokens / cells:.1f} %), {rows} of {patches} rows for the tower "
            f"({100 * rows / patches:.1f} %), threshold {self.threshold:g}"
        )


class Cells(NamedTuple):
    """The cells of one video, as the tower's process receives them."""

    mask: Tensor  # [T, N] bool: those that are tokens
    given: Tensor  # [T, N] bool: those whose pixels are there
    source: Tensor  # [T, N] int64: the token that explains each cell
    turns: tuple[Turn, ...] = ()  # of a gate with memory

    @classmethod
    def of(cls, cells: Tensor, source: Tensor, tubelets: int, turns: Tensor | None = None) -> Self:
        """Unpacks ``GatedVideo.cells``, ``source`` and ``turns`` of T tubelets."""
        return cls(
            kept_cells(cells).view(tubelets, -1),
            given_cells(cells).view(tubelets, -1),
            source.long().view(tubelets, -1),
            () if turns is None else unpacked_turns(turns),
        )

    def with_rows(self, rows: Tensor, context: Context) -> Kept:
        """Makes the input of a ``Session`` from the given cells' normalised patch rows.

        With ``context="kept"`` nothing depends on what other cells show, which may be tokens of
        earlier chunks of a stream: every such cell names the first token.
        """
        source, count = self.source, int(self.mask.sum())
        if context == "kept":
            source = torch.zeros_like(source)
            source[self.mask] = arange(count, device=source.device)
            return Kept(rows, self.mask, source, self.given, count)
        return Kept(rows, self.mask, source, self.given, count, self.turns)


def kept_cells(cells: Tensor) -> Tensor:
    """Returns which of the cells are tokens, bool, from ``GatedVideo.cells``."""
    return (cells & _KIND) == CHANGED


def given_cells(cells: Tensor) -> Tensor:
    """Returns which of the cells have their pixels among the rows, bool, from the same."""
    return (cells & GIVEN) != 0


def packed_turns(turns: Sequence[Turn], tubelets: int) -> Tensor:
    """Packs the turns of a video of T tubelets into a number for each, ``[T]`` int32; 0: none."""
    numbers = [0] * tubelets
    for frame, base, kept in turns:
        numbers[frame] = 1 + base + _PLACES * kept
    return whole(numbers).int()


def unpacked_turns(numbers: Tensor) -> tuple[Turn, ...]:
    """Returns what ``packed_turns`` packed. Synchronises."""
    return tuple(
        Turn(frame, number % _PLACES - 1, number // _PLACES)
        for frame, number in enumerate(numbers.tolist())
        if number
    )


def patch_grid(geometry: Geometry, height: int, width: int) -> PatchGrid:
    """Returns the grid of a frame of ``height x width`` patches."""
    side = geometry.merge
    return PatchGrid(height // side, width // side, side, geometry.patch, geometry.temporal_patch)


def row_planes(rows: Tensor, grid: PatchGrid, normalised: Normalised | None) -> Tensor:
    """Turns all patch rows of a video back into what the gate compares.

    Args:
        rows: ``[T * N * m * m, C * f * P * P]``, uint8 or, if ``normalised``, floats.
        grid: the grid of a frame.
        normalised: None: the rows are uint8.

    Returns:
        uint8 ``[T * f, 3, H, W]`` Y, Cb, Cr.

    Raises:
        TypeError: rows are floats and nothing says how they were normalised.
        ValueError: floats that do not come from such a normalisation.
    """
    if rows.dtype == torch.uint8:
        return rgb_to_ycbcr(grid.frames(rows))
    if normalised is None:
        raise TypeError(f"rows: expected uint8, got {rows.dtype}, whose mean and std are not known")
    return gate_planes(grid.frames(rows).float(), *normalised)


def gate_video(
    rows: Tensor,
    grid_thw: tuple[int, int, int],
    settings: ServingSettings,
    normalised: Normalised | None = None,
    seconds: float | None = None,
) -> GatedVideo:
    """Gates a whole video, and drops the rows that the tower does not compute.

    Args:
        rows: ``[T * N * m * m, C * f * P * P]``, all patches, as a processor makes them.
        grid_thw: tubelets, and patches down and across.
        settings: the gate's rules, which cells the tower computes, and the most tokens.
        normalised: how the processor normalised, if the rows are floats.
        seconds: the length of the video, if it is known.

    Raises:
        ValueError: the video cannot be kept within its budget (see ``most_tokens`` and ``fitted``).
    """
    grid = patch_grid(settings.geometry, *grid_thw[1:])
    planes = row_planes(rows, grid, normalised)
    most = most_tokens(settings.budget, seconds, grid.h * grid.w)
    gate, result = fitted(planes, settings.gate, most)
    kind = result.kind.flatten(1)  # [T, N]
    video = only_given(rows, kind, result.source, settings, gate.settings.threshold)
    if settings.gate.memory is None:
        return video
    return video._replace(turns=packed_turns(turns_of(gate), len(kind)))


def only_given(
    rows: Tensor, kind: Tensor, source: Tensor, settings: ServingSettings, threshold: float
) -> GatedVideo:
    """Drops the rows of cells that the tower does not compute.

    Args:
        rows: all patches.
        kind: ``[T, N]`` uint8, what the gate calls each cell.
        source: ``[T, h, w]``, the token that explains each cell.
        settings: which cells the tower computes.
        threshold: the gate's.
    """
    given = Session(settings.fidelity).computed(kind)
    kept = rows.unflatten(0, (-1, settings.geometry.each))[given.flatten()].flatten(0, 1)
    cells = kind + given.to(torch.uint8) * GIVEN
    return GatedVideo(kept, cells.flatten(), source.flatten().int(), threshold)


def whole_video(rows: Tensor, geometry: Geometry) -> GatedVideo:
    """Keeps everything: for the videos of zeros with which an engine measures its memory."""
    count = len(rows) // geometry.each
    cells = torch.full((count,), CHANGED + GIVEN, dtype=torch.uint8, device=rows.device)
    return GatedVideo(rows, cells, arange(count, device=rows.device).int(), 0.0)
