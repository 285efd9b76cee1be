"""What a cell shows that lies over several tokens: their mean, by pixels that the gate knows."""

from dataclasses import replace

import pytest
import torch
from blend_cases import WIDTH, P, agrees, by_pixels, cells_of, drifting, every_drift, gated_tokens
from gate_videos import any_video, busy_video, drift, gate_settings, grids
from hypothesis import given, settings
from hypothesis import strategies as st

from patchgate import Gate
from patchgate.gate import CHANGED, MOVED
from patchgate.tokens import blend as blending

# ---- the ids


@given(st.data())
@settings(max_examples=40)
def test_the_ids_found_are_those_that_the_gate_holds(data: st.DataObject) -> None:
    chosen = data.draw(gate_settings(search_radius=data.draw(st.sampled_from([2, 5]))))
    side, seed = chosen["patch"] * chosen["merge"], data.draw(st.integers(0, 9999))
    height, width = (cells * side for cells in data.draw(grids(chosen)))
    f = chosen["temporal_patch"]
    if data.draw(st.booleans()):
        video = any_video((height, width), 1, seed)
    else:
        step = data.draw(st.tuples(*[st.integers(-7, 7)] * 2))
        video = drift((height, width), 12, step, seed, grain=3)
    video = torch.cat([video, video[-1:]])[: len(video) // f * f]
    tokens, held = gated_tokens(video, Gate(**chosen))
    found = [ids.clone() for ids in blending.ids_after(cells_of(tokens))]
    assert len(found) == len(held)
    for t, (ours, theirs) in enumerate(zip(found, held, strict=True)):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs), t


@every_drift
def test_slow_motion_displaces_ids_as_the_gate_does(name: str) -> None:
    tokens, held = drifting(name)
    for t, ids in enumerate(blending.ids_after(cells_of(tokens))):
        assert torch.equal(ids, held[t]), t


@pytest.mark.parametrize("seed", range(2))
def test_a_scene_cut_begins_anew(seed: int) -> None:
    tokens, held = gated_tokens(busy_video(seed), Gate(patch=P, on_motion="reuse"))
    assert int(tokens.is_key.sum()) > 1
    for t, ids in enumerate(blending.ids_after(cells_of(tokens))):
        assert torch.equal(ids, held[t]), t
    cut = int(tokens.is_key.nonzero()[-1])
    for t, ids in enumerate(blending.ids_after(cells_of(tokens), cut), cut):
        assert torch.equal(ids, held[t]), t


# ---- dense


@every_drift
def test_dense_is_the_mean_over_the_pixels_of_each_cell(name: str) -> None:
    tokens, ids = drifting(name)
    agrees(tokens, ids)
    nearest = tokens.dense(blend=False)
    assert torch.equal(nearest, tokens.features[tokens.source])
    blended = (tokens.dense() != nearest).any(3)
    assert bool(blended[tokens.kind == MOVED].any())
    assert not bool(blended[tokens.kind == CHANGED].any())
    # Cells that stand still at the end show what they did when they moved.
    assert bool(blended[-1].any())
    assert torch.equal(tokens.dense()[-1], tokens.dense()[-2])


@pytest.mark.parametrize("numbers", [1, 40, 1 << 20])
def test_how_many_are_averaged_at_a_time_does_not_matter(
    numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, _ = drifting("quarters")
    expected = tokens.dense()
    monkeypatch.setattr(blending, "_NUMBERS", numbers)
    assert torch.equal(tokens.dense(), expected)


def test_cells_that_lie_over_one_token_show_it_bit_for_bit() -> None:
    tokens, ids = drifting("whole pixels")
    p = P
    cells = torch.stack(ids).unflatten(1, (-1, p)).unflatten(3, (-1, p)).transpose(2, 3)
    pure = (cells == cells[..., :1, :1]).flatten(3).all(3)  # [T, h, w]
    assert torch.equal(tokens.dense()[pure], tokens.dense(blend=False)[pure])
    alike = replace(tokens, features=tokens.features[:1].expand(len(tokens), -1).contiguous())
    assert torch.equal(alike.dense(), alike.dense(blend=False))  # a mean of equals is exact


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_means_are_added_up_in_more_digits(dtype: torch.dtype) -> None:
    tokens, ids = drifting("quarters")
    other = tokens.to(dtype)
    got, exact = other.dense(), by_pixels(other, ids)
    assert got.dtype == dtype
    error = (got.double() - exact).abs()
    rounding = (exact.to(dtype).double() - exact).abs()
    assert float(error.max()) <= 1.01 * float(rounding.max()) + 1e-6


def test_gradients_flow_to_every_token_of_a_cell() -> None:
    tokens, ids = drifting("quarters", t=6)
    given = tokens.features.double().requires_grad_()
    weights = torch.randn(*tokens.source.shape, WIDTH, dtype=torch.float64)
    (replace(tokens, features=given).dense() * weights).sum().backward()
    other = tokens.features.double().requires_grad_()
    (by_pixels(replace(tokens, features=other), ids) * weights).sum().backward()
    torch.testing.assert_close(given.grad, other.grad)
    assert torch.autograd.gradcheck(
        lambda x: replace(tokens, features=x).dense(), tokens.features.double().requires_grad_()
    )


def test_integers_show_their_source() -> None:
    tokens, _ = drifting("quarters")
    whole = replace(tokens, features=(tokens.features * 30).to(torch.int8))
    assert torch.equal(whole.dense(), whole.features[whole.source])


def test_a_table_is_what_dense_makes_cells_of() -> None:
    tokens, _ = drifting("quarters")
    table, row = tokens.rows()
    assert torch.equal(table[: len(tokens)], tokens.features)
    assert len(table) == int(row.max()) + 1 > len(tokens)
    assert torch.equal(table[row], tokens.dense())
