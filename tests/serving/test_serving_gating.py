"""A processor's rows, gated: what crosses to the tower, and what the prompt shows.

Letters: T tubelets, N cells, m merge side.
"""

import pytest
import torch

import patchgate
from patchgate.colour import rgb_to_ycbcr
from patchgate.encoders.run.session import Session
from patchgate.gate import CHANGED
from patchgate.serving.gating import (
    Cells,
    Normalised,
    gate_video,
    kept_cells,
    patch_grid,
    row_planes,
    whole_video,
)
from patchgate.serving.settings import Geometry, ServingSettings

GEOMETRY = Geometry(4, 2, 2)
GRID = patch_grid(GEOMETRY, 6, 8)  # 3 x 4 cells of 2 x 2 patches
N = 12


def frames(count: int, changes: dict[int, int], seed: int = 0) -> torch.Tensor:
    """A still clip ``[T * f, 3, H, W]``; at some frames a cell becomes another."""
    random = torch.Generator().manual_seed(seed)
    base = torch.randint(0, 256, (3, *GRID.size), generator=random, dtype=torch.uint8)
    out = []
    for t in range(count):
        if t in changes:
            row, column = divmod(changes[t], GRID.w)
            side = GEOMETRY.patch * GEOMETRY.merge
            at = (slice(None), slice(row * side, row * side + side),
                  slice(column * side, column * side + side))  # fmt: skip
            base = base.clone()
            base[at] = 255 - base[at]
        out.append(base)
    return torch.stack(out)


def rows_of(clip: torch.Tensor) -> torch.Tensor:
    """All patches of a clip in the processor's order."""
    index = torch.arange(len(clip) // GEOMETRY.temporal_patch * N)
    return GRID.rows(clip, index)


def read(**given) -> ServingSettings:
    return ServingSettings.read(given, GEOMETRY)


def test_rows_become_the_planes_that_the_gate_compares():
    clip = frames(4, {2: 5})
    assert torch.equal(row_planes(rows_of(clip), GRID, None), rgb_to_ycbcr(clip))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    scale = torch.tensor([mean, std]).view(2, 3, 1, 1)
    floats = (clip / 255 - scale[0]) / scale[1]
    again = row_planes(rows_of(floats), GRID, Normalised(mean, std))
    assert torch.equal(again, rgb_to_ycbcr(clip))
    with pytest.raises(TypeError, match="whose mean and std are not known"):
        row_planes(rows_of(floats), GRID, None)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"context": "kept"},
        {"max_age": 2},
        {"threshold": 0},
        {"search_radius": 8},
        {"sub_blocks": 1},
        {"scene_cut": 0.3},
        {"noise": "adaptive"},
    ],
)
def test_it_is_the_gate_of_patchgate(given):
    clip = frames(12, {2: 5, 7: 0, 9: 11})
    video = gate_video(rows_of(clip), (6, 6, 8), read(**given))
    gate = patchgate.Gate.of(read(**given).gate)
    result = gate.push(rgb_to_ycbcr(clip))
    assert torch.equal(kept_cells(video.cells), result.kind.flatten() == CHANGED)
    assert torch.equal(video.source.long(), result.source.flatten())
    assert video.tokens == int((result.kind == CHANGED).sum())
    assert N < video.tokens < 6 * N


def test_a_budget_holds_exactly_before_the_prompt_is_made():
    random = torch.Generator().manual_seed(2)
    clip = torch.randint(0, 256, (12, 3, *GRID.size), generator=random, dtype=torch.uint8)
    rows, grid = rows_of(clip), (6, 6, 8)
    free = {"scene_cut": None}
    assert gate_video(rows, grid, read(**free)).tokens == 6 * N
    for most in (N, N + 1, 30):
        video = gate_video(rows, grid, read(**free, max_tokens=most))
        assert video.tokens <= most
        assert video.threshold > 4
    rate = read(**free, max_tokens_per_second=10)
    assert gate_video(rows, grid, rate, seconds=3).tokens <= 30
    with pytest.raises(ValueError, match="its first frame alone has 12 tokens"):
        gate_video(rows, grid, read(max_tokens=N - 1))
    with pytest.raises(ValueError, match="length is not known"):
        gate_video(rows, grid, rate)


def test_only_rows_that_the_tower_takes_are_left():
    clip = frames(8, {2: 5, 6: 1})
    rows = rows_of(clip)
    video = gate_video(rows, (4, 6, 8), read())
    assert video.tokens == N + 2
    every = rows.unflatten(0, (-1, 4))
    expected = torch.cat([every[:N], every[N + 5][None], every[3 * N + 1][None]]).flatten(0, 1)
    assert torch.equal(video.rows, expected)
    assert video.rows.dtype == torch.uint8


def test_a_moved_cell_gives_its_own_pixels_and_no_token():
    """``moved="own"``: the tower computes it, the prompt does not show it."""
    clip = frames(4, {})
    clip[2:] = clip[2:].roll(-3, 3)  # the camera moves
    own = gate_video(rows_of(clip), (2, 6, 8), read(search_radius=8))
    lent = gate_video(rows_of(clip), (2, 6, 8), read(search_radius=8, moved="lend"))
    assert own.tokens == lent.tokens < 2 * N
    assert len(own.rows) == 2 * N * 4 > len(lent.rows) == lent.tokens * 4


def test_pass_over_leaves_cells_for_a_later_frame():
    clip = frames(8, {2: 5, 4: 1})
    video = gate_video(rows_of(clip), (4, 6, 8), read(pass_over=[0.1, 8]))
    cells = Cells.of(video.cells, video.source, 4)
    assert cells.mask.sum(1).tolist() == [N, 1, 1, 0]
    assert cells.given.sum(1).tolist() == [N, 0, 2, 0]
    assert len(video.rows) == (N + 2) * 4


def test_the_tower_gets_what_a_gated_tower_takes_itself():
    clip = frames(12, {2: 5, 7: 0, 9: 11})
    settings = read()
    video = gate_video(rows_of(clip), (6, 6, 8), settings)
    kept = Cells.of(video.cells, video.source, 6).with_rows(video.rows, "full")

    class Tower:
        """What ``Session.kept`` needs of a tower."""

        rows = staticmethod(GRID.rows)

    gate = patchgate.Gate.of(settings.gate)
    own = Session(settings.fidelity).kept(Tower, clip, gate.push(rgb_to_ycbcr(clip)))
    for name, one, other in zip(kept._fields, kept, own, strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other)), name


def test_a_whole_video_keeps_everything():
    rows = torch.full((3 * N * 4, 96), 255, dtype=torch.uint8)
    video = whole_video(rows, GEOMETRY)
    cells = Cells.of(video.cells, video.source, 3)
    assert video.tokens == 3 * N
    assert bool(cells.mask.all())
    assert bool(cells.given.all())
    assert torch.equal(video.rows, rows)
    assert torch.equal(cells.source.flatten(), torch.arange(3 * N))
