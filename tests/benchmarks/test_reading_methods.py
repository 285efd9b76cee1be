"""Methods of benchmarks/reading and its peers: what they keep, and the picture it amounts to."""

from types import SimpleNamespace

import clips
import pytest
import torch
from changing_videos import dimming, panning, returning
from gate_videos import fade, noisy, pan, still, with_object
from peers import pixels, rlt, top_k, uniform
from reading import methods
from reading.known import Known
from reading.methods import CELL, Adjacent, Dense, Method, Seen, TopK, Trace, Uniform, ours
from rebuild import emitted_cells, rebuild, worst_sub_blocks
from torch import Tensor

import patchgate
from patchgate.colour import yuv_to_rgb
from patchgate.gate import CHANGED, MOVED, RETURNED, GateSettings
from patchgate.grid import to_grid

SIZE = (64, 96)
MATRIX = "bt709"
T = 24


def known(planes: Tensor, trace: Trace) -> Tensor:
    """The known picture of every frame, ``[T, 3, H, W]``."""
    footage = SimpleNamespace(planes=planes, matrix=MATRIX)
    pictures = Known(footage, trace, range(len(planes)))
    return torch.stack([pictures.rgb(t) for t in range(len(planes))])


def one(method: Method, planes: Tensor, fps: int = 25) -> Trace:
    (trace,) = method.traces(Seen(planes, fps, MATRIX))
    return trace


def moving() -> Tensor:
    """A noisy pan with an object against it."""
    return noisy(with_object(pan(SIZE, T, (1, 2), c=3), (2, -1)), 2)


# --- the known picture ------------------------------------------------------------------------


@pytest.mark.parametrize("on_motion", ["encode", "camera", "reuse"])
def test_known_pictures_are_what_the_tokens_rebuild(on_motion: str) -> None:
    path, gate = (
        clips.clip("late.mp4"),
        patchgate.Gate(on_motion=on_motion, patch=CELL, threshold=9),
    )
    tokens = patchgate.tokenize(path, gate=gate, size=(48, 64))
    with patchgate.open_video(path) as video:
        batches = list(video)
    planes = torch.cat([to_grid(batch, (48, 64)) for batch in batches])
    matrix = batches[0].colour.matrix
    trace = one(ours(on_motion=on_motion, threshold=9), planes)
    footage = SimpleNamespace(planes=planes, matrix=matrix)
    pictures = Known(footage, trace, [0, 7, 20])
    rebuilt = tokens.reconstruct(rgb=True)
    assert trace.tokens == len(tokens)
    assert on_motion == "encode" or bool((trace.kind == MOVED).any())
    for t in (0, 7, 20):
        assert torch.equal(pictures.rgb(t), rebuilt[t])


def test_known_holds_only_what_was_asked_for() -> None:
    planes = still(SIZE, 4, c=3)
    pictures = Known(SimpleNamespace(planes=planes, matrix=MATRIX), one(Dense(), planes), [2])
    assert torch.equal(pictures.rgb(2), yuv_to_rgb(planes[2], MATRIX))
    with pytest.raises(KeyError):
        pictures.rgb(1)


@pytest.mark.parametrize("changes", [{}, {"sub_blocks": 4}, {"on_motion": "reuse", "threshold": 8}])
def test_our_known_pictures_keep_the_guarantee(changes: dict[str, object]) -> None:
    planes, settings = moving(), GateSettings(**{"patch": CELL, **changes})
    trace = one(ours(**changes), planes)
    gray = planes[:, :1].repeat(1, 3, 1, 1)  # the known picture is RGB: compare it as luma
    gray[:, 1:] = 128
    shown = known(gray, trace)[:, :1]
    worst = worst_sub_blocks(gray[:, :1], shown, CELL, settings.sub_block)
    assert bool((worst <= settings.limit).all())
    assert 0 < trace.tokens < trace.kind.numel()


def test_moved_cells_read_the_old_picture() -> None:
    world = torch.arange(5 * CELL, dtype=torch.uint8)[None, None].expand(3, 2 * CELL, -1)
    planes = torch.stack([world[..., t : t + 4 * CELL] for t in range(8)])  # pans by a pixel
    trace = one(ours(on_motion="reuse", threshold=0), planes)
    right = trace.kind[1:, :, :-1]
    assert bool((right == MOVED).all())
    assert torch.equal(known(planes, trace), yuv_to_rgb(planes, MATRIX))


def test_known_pictures_follow_the_light() -> None:
    planes = noisy(dimming(still(SIZE, T, c=3)), 1)
    trace, plain = one(ours(illumination="global"), planes), one(ours(), planes)
    assert trace.result is not None
    assert bool(trace.result.lit.any())
    assert trace.tokens < 0.5 * plain.tokens
    told = trace.kind, trace.motion, emitted_cells(planes, trace.kind, CELL)
    rebuilt = rebuild(*told, weights=trace.result.weights, lit=trace.result.lit)
    assert torch.equal(known(planes, trace), yuv_to_rgb(rebuilt, MATRIX))


def test_known_pictures_put_back_what_returns() -> None:
    planes = noisy(returning(still(SIZE, T, c=3)), 1)
    trace, plain = one(ours(memory=2), planes), one(ours(), planes)
    assert trace.result is not None
    assert bool((trace.kind == RETURNED).any())
    assert trace.tokens == trace.kind[0].numel() + 6 < plain.tokens  # the window once
    told = trace.kind, trace.motion, emitted_cells(planes, trace.kind, CELL)
    rebuilt = rebuild(*told, source=trace.result.source)
    assert torch.equal(known(planes, trace), yuv_to_rgb(rebuilt, MATRIX))


def test_known_pictures_follow_vectors_between_pixels() -> None:
    planes = panning()
    trace = one(ours(motion_precision=4), planes)
    assert trace.tokens < 0.5 * one(ours(), planes).tokens
    difference = known(planes, trace)[-1].double() - yuv_to_rgb(planes, MATRIX)[-1]
    assert float(difference.square().mean()) < 4 * GateSettings().threshold ** 2


# --- peers ------------------------------------------------------------------------------------


def test_adjacent_is_rlts_rule() -> None:
    planes = noisy(with_object(still(SIZE, T, c=3), (2, -1)), 3)
    rgb = yuv_to_rgb(planes, MATRIX)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (pixels.MEAN, pixels.STD))
    normalised = (rgb.float() / 255 - mean) / std
    for tau in (0.08, 0.1, 0.3):
        keep = one(Adjacent(tau), planes).kind == CHANGED
        assert torch.equal(keep, rlt.keep_mask(normalised, CELL, tau))
        assert keep[0].numel() < int(keep.sum()) < keep.numel()


def test_adjacent_forgets_a_slow_fade_and_ours_does_not() -> None:
    planes = fade(still(SIZE, 60, c=3) // 4 + 16, 1)
    adjacent_trace, our_trace = one(Adjacent(0.1), planes), one(ours(), planes)
    assert adjacent_trace.tokens == adjacent_trace.kind[0].numel()
    assert our_trace.tokens > adjacent_trace.tokens
    gone = (known(planes, adjacent_trace)[-1].int() - known(planes, our_trace)[-1].int()).abs()
    assert float(gone.float().mean()) > 40


def test_largest_differences_are_those_of_the_worst_sub_block() -> None:
    planes = moving()
    found = Seen(planes, 25, MATRIX).largest_differences
    expected = worst_sub_blocks(planes[1:], planes[:-1], CELL, CELL // 2) / (CELL // 2) ** 2
    assert torch.allclose(found[1:], expected)
    assert bool(found[0].isinf().all())


def test_one_frame_is_kept_whole_by_all() -> None:
    planes = still(SIZE, 1, c=3)
    for method in (*methods.OURS, *methods.PEERS):
        for trace in method.traces(Seen(planes, 30, MATRIX)):
            assert bool((trace.kind == CHANGED).all())


def test_top_k_keeps_as_many_as_we_do_and_the_largest() -> None:
    planes = moving()
    seen = Seen(planes, 25, MATRIX)
    (trace,) = TopK().traces(seen)
    assert trace.tokens == one(ours(), planes).tokens
    kept = trace.kind == CHANGED
    assert bool(kept[0].all())
    assert seen.mean_differences[kept].min() >= seen.mean_differences[~kept].max()


def test_top_k_breaks_ties_in_order_and_refuses_less_than_a_frame() -> None:
    differences = torch.zeros(3, 2, 2)
    differences[0] = torch.inf
    keep = top_k.keep_mask(differences, 6)
    assert keep.flatten().nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match=r"expected 4\.\.12, got 3"):
        top_k.keep_mask(differences, 3)


def test_uniform_takes_the_first_frame_at_or_after_each_time() -> None:
    assert uniform.sampled_frames(25, 25, 5, 0, 3) == [0, 5, 10, 15, 20]
    assert uniform.sampled_frames(25, 25, 5, 1, 3) == [0, 2, 7, 12, 17, 22]  # from 1/15 s on
    assert uniform.sampled_frames(25, 25, 10, 0, 1) == [0, 3, 5, 8, 10, 13, 15, 18, 20, 23]
    assert uniform.sampled_frames(9, 25, 25, 0, 3) == list(range(9))
    with pytest.raises(ValueError, match=r"expected 1\.\.25"):
        uniform.sampled_frames(9, 25, 30, 0, 3)


def test_uniform_holds_each_frame_until_the_next() -> None:
    planes = moving()
    traces = Uniform(5).traces(Seen(planes, 25, MATRIX))
    assert len(traces) == methods.PHASES
    shown = known(planes, traces[0])
    assert torch.equal(shown[9], yuv_to_rgb(planes[5], MATRIX))
    assert torch.equal(shown[10], yuv_to_rgb(planes[10], MATRIX))


def test_methods_have_names_of_their_own() -> None:
    names = [(m.family, m.setting) for m in (Dense(), *methods.OURS, *methods.PEERS)]
    assert len(set(names)) == len(names)
    assert methods.OURS[0].settings["threshold"] == GateSettings().threshold
