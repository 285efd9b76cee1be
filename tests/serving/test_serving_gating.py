"""A processor's rows, gated: what crosses to the tower, and what the prompt shows.

Letters: T tubelets, N cells, m merge side.
"""

import pytest
import torch

import patchgate
from patchgate.colour import rgb_to_ycbcr
from patchgate.encoders.run.session import Session, turns_of
from patchgate.gate import CHANGED, RETURNED
from patchgate.gate.longterm.turns import Turn
from patchgate.serving.encoding import encode_video
from patchgate.serving.gating import (
    Cells,
    Normalised,
    gate_video,
    given_cells,
    kept_cells,
    packed_turns,
    patch_grid,
    row_planes,
    unpacked_turns,
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
        {"memory": 2},
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


def shots(order: str) -> torch.Tensor:
    """Shots of two tubelets each; one letter is one picture, with one new cell in the second."""
    clips = {letter: frames(4, {2: 5}, seed=ord(letter)) for letter in set(order)}
    return torch.cat([clips[letter] for letter in order])


def test_a_shot_that_returns_gives_no_rows():
    rows, grid = rows_of(shots("ABA")), (6, 6, 8)
    video, without = (gate_video(rows, grid, read(memory=m)) for m in (2, None))
    back = (video.cells & (CHANGED | RETURNED)).view(6, N)[4:]
    assert video.tokens == 2 * (N + 1) + 2  # the cell that changes in the shot, before and after
    assert int((back[0] == RETURNED).sum()) == N - 1
    assert torch.equal(given_cells(video.cells), kept_cells(video.cells))
    assert len(video.rows) == 4 * video.tokens < len(without.rows)
    assert [turn.frame for turn in unpacked_turns(video.turns)] == [2, 4]
    assert without.turns is None


def test_turns_are_packed_and_unpacked():
    turns = (Turn(0, 0, 0), Turn(3, 64, 1), Turn(5, 1, 64), Turn(6, 64, 64))
    assert packed_turns(turns, 8).tolist() == [1, 0, 0, 65 + 128, 0, 2 + 64 * 128, 65 + 64 * 128, 0]
    assert unpacked_turns(packed_turns(turns, 8)) == turns


def test_a_tower_that_passes_frames_over_has_no_memory():
    with pytest.raises(ValueError, match=r"config.patchgate: memory: a tower that passes frames"):
        read(memory=2, pass_over=[0.1, 8])


@pytest.mark.parametrize(("given", "order"), [({}, ""), ({"memory": 2}, "ABACB")])
def test_the_tower_gets_what_a_gated_tower_takes_itself(given, order):
    clip = shots(order) if order else frames(12, {2: 5, 7: 0, 9: 11})
    settings, count = read(**given), len(clip) // 2
    video = gate_video(rows_of(clip), (count, 6, 8), settings)
    cells = Cells.of(video.cells, video.source, count, video.turns)
    kept = cells.with_rows(video.rows, "full")
    assert len(kept.turns) == max(0, len(order) - 1)

    class Tower:
        """What ``Session.kept`` needs of a tower."""

        rows = staticmethod(GRID.rows)

    gate = patchgate.Gate.of(settings.gate)
    own = Session(settings.fidelity).kept(Tower, clip, gate.push(rgb_to_ycbcr(clip)))
    own = own._replace(turns=turns_of(gate))
    for name, one, other in zip(kept._fields, kept, own, strict=True):
        same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
        assert same, name


@pytest.mark.parametrize("tolerance", [0, 0.05, "inf"])
def test_a_shot_that_returns_is_that_of_a_gated_tower(tolerance):
    """The features of the token that is new in it, and those of all others."""
    pytest.importorskip("transformers")
    import qwen_cases

    model, mean = qwen_cases.tower("qwen3", spatial_merge_size=2), (0.0,) * 3
    clip = shots("ABABA")
    clip[10:12, :, 8:16, 16:24] = 255 - clip[10:12, :, 8:16, 16:24]  # one cell of a returning shot
    settings, grid = read(memory=2, tolerance=tolerance), (10, 6, 8)
    video, rows = gate_video(rows_of(clip), grid, settings), rows_of(clip / 255).double()
    given = given_cells(video.cells)
    taken = rows.unflatten(0, (-1, 4))[given].flatten(0, 1)
    tower = patchgate.gated(
        model, mean=mean, std=(1.0,) * 3, memory=2, tolerance=settings.fidelity.tolerance
    )
    with torch.no_grad():
        family = qwen_cases.FAMILIES["qwen3"](model)
        own = video.cells, video.source, grid, settings
        found = encode_video(family, taken, *own, video.turns)
        expected = tower(rows, grid_thw=torch.tensor([grid]))
    dense = torch.cat([expected.pooler_output, *expected.deepstack_features], 1)
    torch.testing.assert_close(found, dense[kept_cells(video.cells)], rtol=0, atol=1e-10)

    def pairs(turns) -> int:
        """Queries times keys of all layers."""
        kept = Cells.of(video.cells, video.source, 10, turns).with_rows(taken, "full")
        with torch.no_grad():
            sized = family.sized(*GRID.size)
            out = Session(settings.fidelity).encode(sized, kept, [], None, False)
        return sum(sum(run.pairs) for run in out.runs)

    # Without the turns returning cells are compared with what the shot before them showed.
    own, forgetful = pairs(video.turns), pairs(None)
    assert own < forgetful if tolerance != "inf" else own == forgetful


def test_a_whole_video_keeps_everything():
    rows = torch.full((3 * N * 4, 96), 255, dtype=torch.uint8)
    video = whole_video(rows, GEOMETRY)
    cells = Cells.of(video.cells, video.source, 3)
    assert video.tokens == 3 * N
    assert bool(cells.mask.all())
    assert bool(cells.given.all())
    assert torch.equal(video.rows, rows)
    assert torch.equal(cells.source.flatten(), torch.arange(3 * N))
