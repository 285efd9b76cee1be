"""A gated tower's packed output: each feature once, where it was computed."""

import math

import pytest
import torch
from gated_cases import MEAN, STD, N, camera, flicker, noise, normalised, tower
from gated_families import CASES
from qwen_cases import FAMILIES, GRID, grid_thw
from qwen_cases import tower as qwen_tower

import patchgate

T = 9
PTS = torch.arange(T) / 30.0
FIDELITIES = {
    "kept": {"context": "kept"},
    "residual": {"tolerance": math.inf, "moved": "lend"},
    "tolerance": {"tolerance": 0.05},
    "exact": {"tolerance": 0.0},
    "refresh": {"tolerance": math.inf, "refresh": 4},
}
fidelities = pytest.mark.parametrize("fidelity", FIDELITIES.values(), ids=list(FIDELITIES))
families = pytest.mark.parametrize("family", ["siglip", "clip"])


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def wrapped(model, **settings):
    return patchgate.gated(model, mean=MEAN, std=STD, threshold=0, **settings)


def check_consistent(tokens):
    """That every token is where it says: the cell of its own frame shows it."""
    own = tokens.frame >= 0
    carried = int(tokens.cu_seqlens[0])
    assert own.tolist() == [False] * carried + [True] * (len(tokens) - carried)
    index = torch.arange(len(tokens))[own]
    frame, (row, column) = tokens.frame[own], tokens.cell[own].unbind(1)
    assert torch.equal(tokens.source[frame, row, column], index)
    counts = torch.bincount(frame, minlength=tokens.shape.T)
    assert torch.equal(tokens.cu_seqlens.diff().long(), counts)
    assert bool((tokens.span >= 1).all())
    # Every token is shown: none is carried in vain.
    assert torch.equal(tokens.source.unique(), torch.arange(len(tokens)))


@fidelities
@families
@pytest.mark.parametrize("clip", [flicker, camera, noise])
def test_dense_is_the_call(family, fidelity, clip):
    gated = wrapped(tower(family), **fidelity)
    x = normalised(clip(T))
    tokens = gated.tokens(x, pts_seconds=PTS)
    shown = gated(x).last_hidden_state[:, -N:]
    assert torch.equal(tokens.dense().flatten(1, 2), shown)
    assert torch.equal(tokens.pts_seconds, PTS.double())
    check_consistent(tokens)


@families
def test_kept_cells_only_where_nothing_is_computed_anew(family):
    gated = wrapped(tower(family), **FIDELITIES["residual"])
    tokens = gated.tokens(normalised(flicker(T)), pts_seconds=PTS)
    kept = (tokens.kind == 2).nonzero()
    assert torch.equal(torch.cat([tokens.frame[:, None], tokens.cell], 1), kept)
    assert len(tokens) == gated.last_work.kept


def test_a_tolerance_computes_more_than_the_gate_kept():
    gated = wrapped(tower("siglip"), tolerance=0.0)
    tokens = gated.tokens(normalised(flicker(T)), pts_seconds=PTS)
    assert len(tokens) > int((tokens.kind == 2).sum())


@fidelities
def test_pushes_carry_what_they_still_show(fidelity):
    x, gated = normalised(camera(T)), wrapped(tower("clip"), **fidelity)
    whole = gated.tokens(x, pts_seconds=PTS)
    stream, begin = gated.stream(), 0
    for end in (1, 2, 6, T):
        part = stream.tokens(x[begin:end], pts_seconds=PTS[begin:end])
        check_consistent(part)
        cells = whole.source[begin:end].flatten()
        of_part = part.source.flatten()
        # The same tokens at the same places, told on this push's own clock.
        assert torch.equal(part.frame[of_part] + begin, whole.frame[cells])
        assert torch.equal(part.cell[of_part], whole.cell[cells])
        torch.testing.assert_close(
            part.dense(), whole.dense()[begin:end], rtol=0, atol=1e-10, check_dtype=True
        )
        begin = end


def test_a_restored_stream_knows_its_tokens(tmp_path):
    x, gated = normalised(flicker(T)), wrapped(tower("siglip"), tolerance=0.05)
    stream, again = gated.stream(), gated.stream()
    stream.tokens(x[:4], pts_seconds=PTS[:4])
    stream.save(tmp_path / "state")
    again.restore(tmp_path / "state")
    expected = stream.tokens(x[4:], pts_seconds=PTS[4:])
    found = again.tokens(x[4:], pts_seconds=PTS[4:])
    for name, tensor in expected.tensors().items():
        assert torch.equal(found.tensors()[name], tensor), name


@pytest.mark.parametrize(
    "name", ["dinov2", "dinov3", "siglip2", "vit", "internvl", "smolvlm, larger"]
)
def test_families(name):
    case = CASES[name]()
    gated = wrapped(case.model)
    x = case.inputs(case.flicker(T))
    tokens = gated.tokens(**x, pts_seconds=PTS)
    shown = gated(**x).last_hidden_state[:, -case.cells - case.padding :][:, : case.cells]
    assert torch.equal(tokens.dense().flatten(1, 2), shown)
    check_consistent(tokens)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_qwen(name):
    """Tubelets of cells of four patches, features of tapped layers beside the output."""
    random = torch.Generator().manual_seed(0)
    n, t = GRID[0] * GRID[1], 4
    first = torch.rand(n * 4, 3 * 2 * 16, generator=random, dtype=torch.float64)
    rows = first.repeat(t, 1).view(t, n, 4, -1)
    rows[2:, 3] = torch.rand(4, 3 * 2 * 16, generator=random, dtype=torch.float64)
    options = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    gated = patchgate.gated(qwen_tower(name), threshold=0, **options)
    rows = rows.flatten(0, 2)
    tokens = gated.tokens(rows, grid_thw=grid_thw(t), pts_seconds=PTS[:t])
    out = gated(rows, grid_thw=grid_thw(t))
    assert tokens.shape == (t, *GRID)
    check_consistent(tokens)
    width = out.pooler_output.shape[-1]
    assert torch.equal(tokens.dense().flatten(0, 2)[:, :width], out.pooler_output)
    deepstack = getattr(out, "deepstack_features", None) or []
    _, taps = patchgate.language.positions.split_deepstack(
        tokens.dense().flatten(0, 2), len(deepstack)
    )
    for found, expected in zip(taps, deepstack, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("asked", [{"ratio": 0.5}, {"ratio": 0.5, "window": 4}], ids=str)
def test_merging_counts_tokens_that_the_gate_did_not_keep(asked, tmp_path):
    gated = wrapped(tower("siglip"), tolerance=0.05)
    tokens = gated.tokens(normalised(flicker(T)), pts_seconds=PTS)
    assert len(tokens) > int((tokens.kind == 2).sum())
    merged = patchgate.merge(tokens, **asked)
    check_consistent(merged)
    merged.save(tmp_path / "merged")  # which checks, as it is read, that all fits
    assert len(patchgate.VideoTokens.load(tmp_path / "merged")) == len(merged) < len(tokens)


def test_a_push_can_be_sliced():
    gated, x = wrapped(tower("clip"), tolerance=0.05), normalised(camera(T))
    stream = gated.stream()
    stream.tokens(x[:3], pts_seconds=PTS[:3])
    push = stream.tokens(x[3:], pts_seconds=PTS[3:])
    part = push.slice(float(PTS[5]), float(PTS[7]))
    check_consistent(part)
    assert torch.equal(part.dense(), push.dense()[2:4])


@fidelities
def test_a_stream_goes_on_with_calls_and_tokens(fidelity):
    """Also of a tower whose call shows more than its features."""
    random, options = torch.Generator().manual_seed(0), {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    n = GRID[0] * GRID[1] * 4
    rows = torch.rand(2, n, 3 * 2 * 16, generator=random, dtype=torch.float64)
    rows[1, 4:] = rows[0, 4:]  # one cell changes
    gated = patchgate.gated(qwen_tower("qwen3"), threshold=0, **options, **fidelity)
    stream, thw = gated.stream(), grid_thw(1)
    stream.tokens(rows[0], grid_thw=thw, pts_seconds=PTS[:1])
    out = stream(rows[1], grid_thw=thw)
    whole = gated(rows.flatten(0, 1), grid_thw=grid_thw(2))
    exact = {"rtol": 0, "atol": 1e-10}
    torch.testing.assert_close(out.last_hidden_state, whole.last_hidden_state[n:], **exact)
    again = stream.tokens(rows[1], grid_thw=thw, pts_seconds=PTS[1:2])
    shown = again.dense().flatten(0, 2)[:, : out.pooler_output.shape[1]]
    assert torch.equal(shown, out.pooler_output)


def test_output_tokens_makes_it_the_call():
    model, x = tower("siglip"), normalised(flicker(T))
    gated = wrapped(model, output="tokens")
    tokens = gated(x, pts_seconds=PTS)
    assert isinstance(tokens, patchgate.VideoTokens)
    assert torch.equal(tokens.dense().flatten(1, 2), wrapped(model)(x).last_hidden_state)
    again = gated.stream()(x, pts_seconds=PTS)
    assert isinstance(again, patchgate.VideoTokens)
    with pytest.raises(ValueError, match="no hidden states"):
        gated(x, pts_seconds=PTS, output_hidden_states=True)
    with pytest.raises(TypeError, match="pts_seconds"):
        gated(x)


def test_durations():
    gated, x = wrapped(tower("siglip")), normalised(flicker(3))
    pts = torch.tensor([0.0, 0.5, 2.0])
    assert gated.tokens(x, pts_seconds=pts).duration_seconds.tolist() == [0.5, 1.5, 1.5]
    one = gated.tokens(x[:1], pts_seconds=pts[:1])
    assert one.duration_seconds.tolist() == [0.0]
    given = gated.tokens(x, pts_seconds=pts, duration_seconds=torch.ones(3))
    assert given.duration_seconds.tolist() == [1.0] * 3


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"pts_seconds": PTS[:2]}, ValueError, r"pts_seconds: expected \[3\]"),
        ({"pts_seconds": [0.0, 1, 2]}, TypeError, "Tensor of floats, got list"),
        ({"pts_seconds": torch.arange(3)}, TypeError, "Tensor of floats"),
        ({"pts_seconds": torch.zeros(3)}, ValueError, "after the one before it"),
        ({"pts_seconds": PTS[:3] * math.nan}, ValueError, "expected"),
        (
            {"pts_seconds": PTS[:3], "duration_seconds": torch.ones(2)},
            ValueError,
            r"duration_seconds: expected \[3\]",
        ),
        (
            {"pts_seconds": PTS[:3], "duration_seconds": -torch.ones(3)},
            ValueError,
            "duration_seconds: expected 0 or more, got -1.0",
        ),
        ({"pts_seconds": PTS[:3], "clip_lengths": [1, 2]}, ValueError, "expected one clip, got 2"),
    ],
)
def test_bad_input(options, error, says):
    with pytest.raises(error, match=says):
        wrapped(tower("siglip")).tokens(normalised(flicker(3)), **options)


def test_settings_that_have_no_tokens():
    with pytest.raises(ValueError, match="output: expected one of"):
        wrapped(tower("siglip"), output="packed")
    fixed = {"capacity": 40, "tolerance": math.inf, "moved": "lend"}
    with pytest.raises(ValueError, match="with capacity"):
        wrapped(tower("siglip"), output="tokens", **fixed)
    with pytest.raises(ValueError, match="not available with capacity"):
        wrapped(tower("siglip"), **fixed).tokens(normalised(flicker(2)), pts_seconds=PTS[:2])


def test_gradients_reach_the_weights():
    model = tower("siglip").train()
    with torch.enable_grad():
        tokens = wrapped(model).tokens(normalised(flicker(3)), pts_seconds=PTS[:3])
        tokens.dense().square().sum().backward()
    assert float(model.embeddings.patch_embedding.weight.grad.abs().sum()) > 0
