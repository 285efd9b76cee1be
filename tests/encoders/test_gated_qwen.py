"""Qwen's vision towers on kept cells, against their own call in transformers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qwen_cases import FAMILIES, GRID, M, P, encode, grid_thw, own_call, patches, tower

EXACT = {"rtol": 0, "atol": 1e-10}  # float64: rounding only
N = GRID[0] * GRID[1]
both = pytest.mark.parametrize("name", list(FAMILIES))


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def opened(name, rows, *tubelets, grid=GRID, **changes):
    options = {"grid_thw": grid_thw(*tubelets, grid=grid)}
    family, frames = FAMILIES[name](tower(name, **changes)).opened(rows, options)
    assert options == {"clip_lengths": list(tubelets)}
    return family, frames


def deepstack(out):
    return list(getattr(out, "deepstack_features", None) or [])


@both
@pytest.mark.parametrize("grid", [GRID, (1, 1), (4, 4), (7, 2)])
def test_all_cells_kept_is_the_dense_tower(name, grid):
    rows, n = patches(5, grid), grid[0] * grid[1]
    family, _ = opened(name, rows, 2, 3, grid=grid)
    dense = family.model(rows, grid_thw=grid_thw(2, 3, grid=grid), output_hidden_states=True)
    features, last = encode(family, rows, torch.arange(n).repeat(5), torch.full((5,), n))
    last = last.view(5, n * M * M, -1)
    ours = family.output(features.view(5, n, -1), None, (None, last), last)
    assert type(ours) is type(dense)
    torch.testing.assert_close(ours.pooler_output, dense.pooler_output, **EXACT)
    torch.testing.assert_close(ours.last_hidden_state, dense.last_hidden_state, **EXACT)
    torch.testing.assert_close(ours.hidden_states[1], dense.hidden_states[-1], **EXACT)
    assert ours.hidden_states[0] is None
    assert len(deepstack(ours)) == len(deepstack(dense)) == (2 if name == "qwen3" else 0)
    for mine, theirs in zip(deepstack(ours), deepstack(dense), strict=True):
        torch.testing.assert_close(mine, theirs, **EXACT)


@both
@settings(max_examples=25, deadline=None)
@given(kept=st.lists(st.lists(st.booleans(), min_size=N, max_size=N), min_size=1, max_size=4))
def test_kept_cells_are_the_towers_own_call_on_them(name, kept):
    kept = torch.tensor(kept)
    rows = patches(len(kept))
    family, frames = opened(name, rows, len(kept))
    index = kept.flatten().nonzero().flatten()
    if not len(index):
        return
    features, _ = encode(family, family.rows(frames, index), index % N, kept.sum(1))
    own = own_call(family.model, rows, grid_thw(len(kept)), kept)
    expected = torch.cat([own.pooler_output, *deepstack(own)], 1)
    torch.testing.assert_close(features, expected, **EXACT)


@both
def test_frames_are_the_pixel_values_and_back(name):
    rows = patches(3)
    family, frames = opened(name, rows, 3)
    assert frames.shape == (6, 3, GRID[0] * M * P, GRID[1] * M * P)
    assert family.size == frames.shape[2:]
    places = family.grid.places(torch.device("cpu"))
    assert torch.equal(family.rows(frames, torch.arange(3 * N)), rows)
    # Position 4 * c + k is patch k of cell c: here row 3, column 6 of the second tubelet.
    cell, k = 1 * GRID[1] + 3, 2
    patch = frames[2:4, :, 3 * P : 4 * P, 6 * P : 7 * P]  # [f, C, P, P]
    row = rows[(N + cell) * M * M + k]
    assert torch.equal(row.view(3, 2, P, P), patch.transpose(0, 1))
    assert places[cell * M * M + k].tolist() == [3, 6]


def test_processor_makes_the_frames_that_are_opened():
    """The frames are those that transformers' own video processor cut into patches."""
    processors = pytest.importorskip("transformers.models.qwen3_vl.video_processing_qwen3_vl")
    processor = processors.Qwen3VLVideoProcessor(patch_size=P, merge_size=M)
    video = torch.rand(1, 4, 3, GRID[0] * M * P, GRID[1] * M * P, dtype=torch.float64)
    rows, t, h, w = processor.patchify(video, P, M, 2)
    family, frames = opened("qwen3", rows[0], t)
    assert torch.equal(frames, video[0])
    assert family.shape == (h // M, w // M)


def test_windows_are_those_of_the_tower():
    family, _ = opened("qwen25", patches(1), 1)
    assert [family.windows(i) is None for i in range(4)] == [False, True, False, True]
    window = family.windows(0).view(N, M * M)
    assert (window == window[:, :1]).all()
    assert window[:, 0].view(GRID).tolist() == [
        [0, 0, 1, 1, 2],
        [0, 0, 1, 1, 2],
        [3, 3, 4, 4, 5],
    ]
    assert all(FAMILIES["qwen3"](tower("qwen3")).windows(i) is None for i in range(4))


@both
def test_gradients_are_those_of_the_tower(name):
    rows = patches(2).requires_grad_()
    family, frames = opened(name, rows, 2)
    kept = torch.tensor([[True] * N, [i % 3 == 0 for i in range(N)]])
    index = kept.flatten().nonzero().flatten()
    with torch.enable_grad():
        family, frames = opened(name, rows, 2)
        features, _ = encode(family, family.rows(frames, index), index % N, kept.sum(1))
        own = own_call(family.model, rows, grid_thw(2), kept)
        wanted = (rows, *family.model.parameters())
        ours, theirs = (
            torch.autograd.grad(out.pow(2).sum(), wanted)
            for out in (features, torch.cat([own.pooler_output, *deepstack(own)], 1))
        )
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6 * float(other.abs().max()))


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_error_is_that_of_the_tower(name, dtype):
    """At most twice the tower's own error in this dtype, against float64."""
    rows, every = patches(2), torch.ones(2, N, dtype=torch.bool)
    exact = own_call(tower(name), rows, grid_thw(2), every).pooler_output
    model = tower(name, dtype)
    dense = model(rows, grid_thw=grid_thw(2)).pooler_output
    family, _ = FAMILIES[name](model).opened(rows, {"grid_thw": grid_thw(2)})
    ours, _ = encode(family, rows.to(dtype), torch.arange(N).repeat(2), every.sum(1))
    assert ours.dtype == dtype
    ours = ours[:, : exact.shape[1]]
    assert (ours - exact).abs().max() <= 2 * (dense - exact).abs().max()


@both
def test_operations_of_a_layer_are_those_of_its_linear_parts(name):
    layer = FAMILIES[name](tower(name)).layer_flops(0)
    d, wide = 32, 44
    assert layer == 2 * (4 * d * d + (3 if name == "qwen25" else 2) * d * wide)


@both
@pytest.mark.parametrize(
    ("thw", "rows", "error", "message"),
    [
        (None, 60, TypeError, "grid_thw: expected a Tensor, got NoneType"),
        ([1, 6, 10], 60, ValueError, r"grid_thw: expected \[videos, 3\], got \[3\]"),
        ([[1, 6, 10], [1, 10, 6]], 120, ValueError, "call the tower once for each"),
        ([[1, 5, 12]], 60, ValueError, "5 x 12 patches are not whole cells of 2 x 2"),
        ([[1, 0, 10]], 0, ValueError, "0 x 10 patches are not whole cells"),
        ([[2, 6, 10]], 60, ValueError, r"needs \[120, 96\], got \[60, 96\]"),
    ],
)
def test_grids_that_do_not_fit_are_refused(name, thw, rows, error, message):
    options = {} if thw is None else {"grid_thw": torch.tensor(thw)}
    with pytest.raises(error, match=message):
        FAMILIES[name](tower(name)).opened(torch.zeros(rows, 96), options)


def test_a_tower_that_is_not_open_has_no_size():
    with pytest.raises(ValueError, match="no size of their own; call it with grid_thw"):
        _ = FAMILIES["qwen3"](tower("qwen3")).cells


def test_another_way_to_resample_positions_is_refused():
    model = tower("qwen3")
    model.interpolation_mode = "bicubic"
    with pytest.raises(ValueError, match="interpolation_mode=bilinear, got bicubic"):
        FAMILIES["qwen3"](model)
