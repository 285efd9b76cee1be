"""Refinements of the gate in benchmarks/reading: the guarantee, and what each of them is for."""

from types import SimpleNamespace

import pytest
import torch
from gate_videos import still, texture
from reading.known import Known
from reading.methods import CELL, Seen, Trace, ours
from reading.predictions import ONE, Weighted
from reading.refined import PREDICTED, REFINEMENTS, SETTINGS, Rebuilt, refined
from rebuild import POISON, worst_sub_blocks
from refinement_videos import VIDEOS, H, T, W, dimming, panning, returning
from torch import Tensor

from patchgate import Gate
from patchgate.colour import yuv_to_rgb
from patchgate.gate import CHANGED, MOVED, STATIC

N = (H // CELL) * (W // CELL)
MATRIX = "bt709"
NAMES = tuple(REFINEMENTS)


def traced(name: str, planes: Tensor) -> Rebuilt:
    return refined(planes, REFINEMENTS[name]())


def default(planes: Tensor) -> Trace:
    (trace,) = ours().traces(Seen(planes, 25, MATRIX))
    return trace


def received(trace: Rebuilt, planes: Tensor, name: str) -> Tensor:
    """What a receiver makes of the emitted cells, the vectors and what was told, cell by cell."""
    predictions = REFINEMENTS[name]()
    picture, pictures = torch.full_like(planes[0], POISON), []
    for frame, kind, motion, told in zip(planes, trace.kind, trace.motion, trace.told, strict=True):
        old, picture = picture, picture.clone()
        # Only these reach the receiver of a frame, and each cell by one way alone.
        said = [
            (own.taken.view(kind.shape), prediction.predict(old, own.values, CELL))
            for own, prediction in zip(told, predictions, strict=bool(told))
        ]
        for y, x in (kind != STATIC).nonzero().tolist():
            block = picture[:, y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL]
            if kind[y, x] == CHANGED:
                block[...] = frame[:, y * CELL : (y + 1) * CELL, x * CELL : (x + 1) * CELL]
            elif kind[y, x] == MOVED:
                dy, dx = motion[y, x].tolist()
                top, left = y * CELL + dy, x * CELL + dx
                block[...] = old[:, top : top + CELL, left : left + CELL]
            else:
                (own,) = [cells for taken, cells in said if taken[y, x]]
                block[...] = own[y * kind.shape[1] + x]
        cells = picture.unfold(1, CELL, CELL).unfold(2, CELL, CELL).flatten(1, 2).transpose(0, 1)
        nobody = torch.zeros(kind.numel(), dtype=torch.bool)
        for i, prediction in enumerate(predictions):
            own = told[i] if told else (nobody, nobody.long())
            prediction.settle(*own, kind.flatten(), cells.contiguous())
        pictures.append(picture)
    return torch.stack(pictures)


# --- the loop ---------------------------------------------------------------------------------


@pytest.mark.parametrize("video", VIDEOS)
def test_without_a_refinement_it_is_the_gate(video: str) -> None:
    planes = VIDEOS[video]
    trace, gate = traced("none", planes), Gate(patch=CELL)
    pushed = gate.push(planes)
    assert torch.equal(trace.kind, pushed.kind)
    assert torch.equal(trace.motion, pushed.motion)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("video", VIDEOS)
def test_the_receiver_has_every_picture_within_the_limit(video: str, name: str) -> None:
    planes = VIDEOS[video]
    trace = traced(name, planes)
    assert torch.equal(received(trace, planes, name), trace.pictures)
    worst = worst_sub_blocks(trace.pictures, planes, CELL, SETTINGS.sub_block)
    assert int(worst.max()) <= SETTINGS.limit
    assert trace.tokens <= default(planes).tokens * 1.05  # what is taken may cost a later frame


@pytest.mark.parametrize("name", NAMES[1:])
def test_every_refinement_has_its_use(name: str) -> None:
    assert any(bool((traced(name, planes).kind == PREDICTED).any()) for planes in VIDEOS.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_still_clip_and_a_cut_are_what_they_were(name: str) -> None:
    planes = torch.cat([still((H, W), 5, seed, c=3) for seed in (1, 2)])
    trace = traced(name, planes)
    assert torch.equal(trace.kind, default(planes).kind)
    assert trace.tokens == 2 * N


# --- what each is for -------------------------------------------------------------------------


def test_a_fade_is_free() -> None:
    planes = dimming(still((H, W), T, c=3))
    assert default(planes).tokens > 3 * N
    assert traced("weighted", planes).tokens == N


def test_weights_are_those_of_h264() -> None:
    picture = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    told = torch.tensor([[[48, 9]]])  # three quarters, and nine more
    (predicted,) = Weighted().predict(picture, told, CELL)
    assert predicted.flatten().tolist() == [min(255, (48 * x + 32) // 64 + 9) for x in range(256)]


def test_an_object_does_not_sway_the_weights() -> None:
    planes = dimming(still((H, W), T, c=3))[:2]
    planes[1, :, :CELL, : 3 * CELL] = texture((CELL, 3 * CELL), 8, 3)
    ((told,),) = traced("weighted", planes).told[1:]
    light = 1 - 0.5 / (T - 1)
    assert (told.values[0, :, 0] - light * ONE).abs().max() <= 1
    assert traced("weighted", planes).tokens == N + 3


def test_a_window_that_returns_is_free() -> None:
    planes = returning(still((H, W), T, c=3))
    assert default(planes).tokens == N + 4 * 6  # opened, closed, opened, closed
    assert traced("recalled, 2", planes).tokens == N + 6


def test_what_was_used_longest_ago_is_forgotten() -> None:
    shown = [texture((CELL, CELL), seed, 3) for seed in range(4)]
    planes = torch.stack([shown[i] for i in (0, 1, 2, 0, 2, 1, 3, 1)])
    changed = traced("recalled, 2", planes).kind.flatten() == CHANGED
    assert changed.tolist() == [True, True, True, False, False, False, True, False]


def test_a_pan_by_fractions_is_shown_from_its_vectors() -> None:
    planes = panning()
    (trace,) = ours(motion_precision=4).traces(Seen(planes, 25, MATRIX))
    assert trace.tokens < 0.5 * default(planes).tokens
    shown = Known(SimpleNamespace(planes=planes, matrix=MATRIX), trace, range(T))
    difference = shown.rgb(T - 1).double() - yuv_to_rgb(planes, MATRIX)[T - 1]
    assert float(difference.square().mean()) < 4 * SETTINGS.threshold**2
