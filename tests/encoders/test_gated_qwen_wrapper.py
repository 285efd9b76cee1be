"""``gated`` around Qwen's vision towers, alone and in their models.

Letters: T tubelets, N cells of a frame, K kept cells, m merge side.
"""

import math

import pytest
import torch
from gate_videos import pan, texture
from gated_cases import MEAN, STD
from language_cases import BEGIN, END, PAD, qwen
from qwen_cases import FAMILIES, GRID, M, P, grid_thw, own_call, tower
from torch import Tensor

import patchgate
from patchgate.colour import rgb_to_ycbcr
from patchgate.encoders.patch_grid import PatchGrid

EXACT = {"rtol": 0, "atol": 1e-10}  # float64: rounding only
N = GRID[0] * GRID[1]
SIZE = (GRID[0] * M * P, GRID[1] * M * P)
CELL = M * P
both = pytest.mark.parametrize("name", list(FAMILIES))


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def flicker(t: int, seed: int = 0) -> Tensor:
    """A still picture of which some random cells are new in each tubelet, in some none."""
    random = torch.Generator().manual_seed(seed)
    frames = texture(SIZE, seed, 3).expand(2 * t, -1, -1, -1).clone()
    for i in range(1, t):
        count = int(torch.randint(0, 4, (1,), generator=random))
        for cell in torch.randperm(N, generator=random)[:count].tolist():
            y, x = cell // GRID[1] * CELL, cell % GRID[1] * CELL
            new = torch.randint(0, 256, (3, CELL, CELL), generator=random, dtype=torch.uint8)
            frames[2 * i :, :, y : y + CELL, x : x + CELL] = new
    return frames


def camera(t: int, seed: int = 0) -> Tensor:
    """The camera pans every other frame, so that tubelets move as a whole."""
    return pan(SIZE, t, (1, 3), seed, 3).repeat_interleave(2, 0)


def noise(t: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2 * t, 3, *SIZE), generator=random, dtype=torch.uint8)


def pixels(frames: Tensor) -> Tensor:
    """As the processor lays them out, ``[T * N * m * m, C * f * P * P]``."""
    mean, std = (torch.tensor(each, dtype=torch.float64)[:, None, None] for each in (MEAN, STD))
    values = (frames.double() / 255 - mean) / std
    return PatchGrid(*GRID, M, P, 2).rows(values, torch.arange(len(frames) // 2 * N))


def gated(model, **settings):
    return patchgate.gated(model, mean=MEAN, std=STD, **settings)


def gate(frames: Tensor, **settings) -> patchgate.GateResult:
    return patchgate.Gate(patch=P, merge=M, temporal_patch=2, **settings).push(rgb_to_ycbcr(frames))


def composed(rows: Tensor, result: patchgate.GateResult, moved: str) -> Tensor:
    """What a cell is computed from: its own patches of when it last changed or moved, or its
    source's.
    """
    cells = rows.view(-1, M * M, rows.shape[1])  # of all frames
    if moved == "source":
        return cells[result.kind.flatten() == 2][result.source.flatten()].flatten(0, 1)
    kind = result.kind.flatten(1)
    last = torch.where(kind != 0, torch.arange(len(kind))[:, None], 0).cummax(0).values
    return cells.view(*kind.shape, *cells.shape[1:])[last, torch.arange(N)].flatten(0, 2)


def outputs(out) -> list[Tensor]:
    return [out.pooler_output, out.last_hidden_state, *(getattr(out, "deepstack_features", ()))]


def same(ours, theirs) -> None:
    assert type(ours) is type(theirs)
    for mine, other in zip(outputs(ours), outputs(theirs), strict=True):
        torch.testing.assert_close(mine, other, **EXACT)


@both
@pytest.mark.parametrize("fidelity", [{"context": "kept"}, {"tolerance": math.inf}, {}])
def test_everything_changed_is_the_dense_tower(name, fidelity):
    model, rows = tower(name), pixels(noise(4))
    sparse, thw = gated(model, **fidelity), grid_thw(3, 1)
    ours, dense = (call(rows, grid_thw=thw, output_hidden_states=True) for call in (sparse, model))
    same(ours, dense)
    assert ours.keys() == dense.keys()
    for mine, other in zip(ours.hidden_states, dense.hidden_states, strict=True):
        torch.testing.assert_close(mine, other, **EXACT)
    assert sparse.last_work.kept == 4 * N
    assert sparse.last_work.flops_ratio == 1


@both
@pytest.mark.parametrize("clip", [flicker, camera, noise])
@pytest.mark.parametrize("on_motion", ["camera", "reuse"])
@pytest.mark.parametrize("moved", ["own", "source"])
def test_tolerance_zero_is_the_dense_tower_over_what_cells_show(name, clip, on_motion, moved):
    model, frames = tower(name), clip(6)
    rows, result = pixels(frames), gate(frames, on_motion=on_motion)
    ours = gated(model, tolerance=0, on_motion=on_motion, moved=moved)
    same(
        ours(rows, grid_thw=grid_thw(6)),
        model(composed(rows, result, moved), grid_thw=grid_thw(6)),
    )


@both
@pytest.mark.parametrize("clip", [flicker, camera])
def test_kept_context_is_the_towers_own_call_on_kept_cells(name, clip):
    model, frames = tower(name), clip(6)
    rows, result = pixels(frames), gate(frames)
    kept = result.kind.flatten(1) == 2
    assert 0 < kept[1:].sum() < kept[1:].numel()
    own = own_call(model, rows, grid_thw(6), kept)
    sparse = gated(model, context="kept")
    ours = sparse(rows, grid_thw=grid_thw(6))
    assert sparse.last_work.kept == int(kept.sum())
    source = result.source.flatten()
    torch.testing.assert_close(ours.pooler_output, own.pooler_output[source], **EXACT)
    if name == "qwen3":
        for mine, other in zip(ours.deepstack_features, own.deepstack_features, strict=True):
            torch.testing.assert_close(mine, other[source], **EXACT)


@both
@pytest.mark.parametrize("fidelity", [{"context": "kept"}, {"tolerance": math.inf}, {}])
@pytest.mark.parametrize("clip", [flicker, camera])
def test_pushes_of_a_clip_are_the_whole_clip(name, fidelity, clip):
    model, frames = tower(name), clip(7)
    rows, per = pixels(frames), N * M * M
    whole = gated(model, **fidelity)(rows, grid_thw=grid_thw(7))
    stream = gated(model, **fidelity).stream()
    parts = [
        stream(rows[a * per : b * per], grid_thw=grid_thw(b - a))
        for a, b in [(0, 1), (1, 4), (4, 7)]
    ]
    for i, mine in enumerate(outputs(whole)):
        torch.testing.assert_close(torch.cat([outputs(part)[i] for part in parts]), mine, **EXACT)


@both
def test_encode_gives_the_features_of_kept_cells(name):
    model, frames = tower(name), flicker(5)
    rows, result = pixels(frames), gate(frames)
    index = (result.kind.flatten() == 2).nonzero().flatten()
    kept = rows.view(-1, M * M, rows.shape[1])[index].flatten(0, 1)
    ends = torch.cat([torch.zeros(1), (result.kind == 2).flatten(1).sum(1).cumsum(0)]).int()
    sparse = gated(model)
    features = sparse.encode(kept, index % N, ends, result.source)
    ours = sparse(rows, grid_thw=grid_thw(5))
    shown = torch.cat([ours.pooler_output, *(getattr(ours, "deepstack_features", ()))], 1)
    torch.testing.assert_close(features, shown[index], **EXACT)
    with pytest.raises(ValueError, match=r"or encode\(\) with source"):
        gated(model, context="kept").encode(kept, index % N, ends)


@both
def test_a_cell_becomes_active_as_a_whole(name):
    """With a small tolerance some cells that stand still are computed, always all their patches."""
    model, rows = tower(name), pixels(flicker(6))
    sparse = gated(model, tolerance=0.8)
    plain, close = gated(model, tolerance=math.inf), gated(model, tolerance=0)
    for each in (sparse, plain, close):
        each(rows, grid_thw=grid_thw(6))
    flops = [each.last_work.gated_flops for each in (plain, sparse, close)]
    assert flops[0] < flops[1] < flops[2]


@both
@pytest.mark.parametrize("fidelity", [{"context": "kept"}, {"tolerance": 0}])
def test_the_model_takes_a_gated_tower(name, fidelity):
    """In place of its own, with everything changed: same logits, same words."""
    model, rows = qwen(name), pixels(noise(3))
    ids = torch.tensor([[5, *[BEGIN, *[PAD] * N, END] * 3, 7]])
    if name == "qwen25":
        ids = torch.tensor([[5, BEGIN, *[PAD] * (3 * N), END, 7]])
    inputs = {
        "input_ids": ids,
        "pixel_values_videos": rows,
        "video_grid_thw": grid_thw(3),
        "mm_token_type_ids": (ids == PAD).int() * 2,
    }
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    logits, words = model(**inputs).logits, model.generate(**inputs, **options)
    model.model.visual = gated(model.model.visual, **fidelity)
    torch.testing.assert_close(model(**inputs).logits, logits, **EXACT)
    assert torch.equal(model.generate(**inputs, **options), words)


@both
def test_what_does_not_fit_is_refused(name):
    model, rows = tower(name), pixels(noise(1))
    for key in ("patch", "merge", "temporal_patch"):
        with pytest.raises(ValueError, match=f"{key}: the tower has {key}="):
            gated(model, **{key: 7})
    with pytest.raises(TypeError, match="grid_thw: expected a Tensor"):
        gated(model)(rows)
    with pytest.raises(ValueError, match="as RGB, expected"):
        gated(model)(rows * 9, grid_thw=grid_thw(1))


@both
def test_no_cells_have_no_features(name):
    sparse, none = gated(tower(name)), torch.zeros(1, dtype=torch.int64)
    source = torch.zeros(0, *GRID, dtype=torch.int64)
    features = sparse.encode(torch.zeros(0, 3 * 2 * P * P), none[:0], none, source)
    assert features.shape == (0, 24 if name == "qwen25" else 72)
