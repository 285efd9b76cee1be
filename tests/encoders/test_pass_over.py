"""``gated(pass_over=...)``: the tower leaves out whole frames until enough has happened."""

import math

import pytest
import torch
from gated_cases import MEAN, STD, N, flicker, noise, normalised, tower
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import patchgate
from patchgate.encoders.run.computed import Waiting, computed_cells
from patchgate.encoders.run.fidelity import Fidelity

MODEL = tower("siglip")
STATIC, MOVED, CHANGED = 0, 1, 2


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def gated(**settings) -> patchgate.GatedTower:
    return patchgate.gated(MODEL, mean=MEAN, std=STD, **settings)


def defined(kind: Tensor, share: float, most: int) -> Tensor:
    """Frame after frame, cell after cell."""
    given, since, passed = [], set(range(kind.shape[1])), math.inf
    for frame in kind.tolist():
        since |= {cell for cell, what in enumerate(frame) if what != STATIC}
        if len(since) > share * kind.shape[1] or passed >= most:
            given.append([cell in since for cell in range(kind.shape[1])])
            since, passed = set(), 0
        else:
            given.append([False] * kind.shape[1])
            passed += len(since) > 0
    return torch.tensor(given)


@given(
    st.integers(1, 12), st.integers(1, 6), st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    st.integers(1, 4), st.integers(0, 99), st.floats(0, 1), st.integers(0, 12),
)  # fmt: skip
@settings(max_examples=200)
def test_it_is_its_definition_however_the_frames_are_cut(
    frames, cells, share, most, seed, busy, cut
):
    random = torch.Generator().manual_seed(seed)
    kind = torch.randint(1, 3, (frames, cells), generator=random)
    kind = kind * (torch.rand(frames, cells, generator=random) < busy)
    kind[0] = CHANGED
    fidelity, waiting, found = Fidelity(pass_over=(share, most)), Waiting(), []
    for part in kind.byte().tensor_split([cut]):
        given, waiting = computed_cells(fidelity, part, waiting)
        found.append(given)
    assert torch.equal(torch.cat(found), defined(kind, share, most))
    assert waiting.seen == frames


def test_it_passes_nothing_over_by_default() -> None:
    kind = torch.randint(0, 3, (5, 7)).byte()
    assert torch.equal(computed_cells(Fidelity(), kind, Waiting())[0], kind != STATIC)


def test_a_frame_that_is_passed_over_shows_what_was() -> None:
    x = normalised(flicker(9))
    every, some = gated(tolerance=0), gated(tolerance=0, pass_over=(1.0, 2))
    exact, out = every(x).last_hidden_state, some(x).last_hidden_state
    kind = patchgate.Gate(**vars(some.gate_settings)).push(some._planes(x)).kind.flatten(1)
    computed = defined(kind, 1.0, 2).any(1)
    assert 1 < computed.sum() < 5
    for t in range(9):
        if computed[t]:
            torch.testing.assert_close(out[t], exact[t], atol=1e-10, rtol=0)
        else:
            assert torch.equal(out[t], out[t - 1])
    assert some.last_work.encoded_frames == computed.sum()
    assert some.last_work.kept == every.last_work.kept


def test_what_the_gate_emits_stays_the_same() -> None:
    x = flicker(9)
    video = normalised(x)
    times = torch.arange(9.0)
    a, b = (gated(pass_over=over).tokens(video, pts_seconds=times) for over in (None, (0.9, 3)))
    assert torch.equal(a.kind, b.kind)
    assert torch.equal(a.motion, b.motion)
    assert len(b) < len(a)
    shown = gated(pass_over=(0.9, 3))(video).last_hidden_state
    torch.testing.assert_close(b.dense().flatten(1, 2), shown, atol=1e-10, rtol=0)


def test_much_that_happens_is_computed_at_once() -> None:
    x = normalised(noise(5))
    a, b = gated(), gated(pass_over=(0.5, 9))
    assert torch.equal(a(x).last_hidden_state, b(x).last_hidden_state)
    assert b.last_work.kept == 5 * N


@settings(max_examples=20)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 99))
def test_any_chunking_is_the_whole(chunks, seed) -> None:
    x = normalised(flicker(sum(chunks), seed))
    whole = gated(tolerance=0.05, pass_over=(0.5, 2))
    with torch.no_grad():
        expected = whole(x).last_hidden_state
        stream = whole.stream()
        out = torch.cat([stream(part).last_hidden_state for part in x.split(chunks)])
    torch.testing.assert_close(out, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"pass_over": 0.5}, TypeError, r"pass_over: expected \(share of the cells, most frames"),
        ({"pass_over": (0.5,)}, TypeError, "pass_over: expected"),
        ({"pass_over": (1.5, 2)}, ValueError, "pass_over: expected"),
        ({"pass_over": (0.5, 0)}, ValueError, "pass_over: expected"),
        ({"pass_over": (0.5, 2.5)}, TypeError, "pass_over: expected"),
        ({"pass_over": (0.5, 2), "moved": "lend"}, ValueError, 'pass_over: it needs moved="own"'),
        ({"pass_over": (0.5, 2), "context": "kept"}, ValueError, 'context="kept" has no use'),
        ({"pass_over": (0.5, 2), "capacity": 9}, ValueError, "pass_over: not available with cap"),
    ],
)
def test_bad_input(given, error, message) -> None:
    with pytest.raises(error, match=message):
        gated(**given)


def test_rows_have_no_later_pixels() -> None:
    rows, cell = torch.zeros(N, 192).double(), torch.arange(N)
    source = torch.arange(N).view(1, 4, 4)
    with pytest.raises(ValueError, match="encode: not available with pass_over"):
        gated(pass_over=(0.5, 2)).encode(rows, cell, torch.tensor([0, N]), source)
