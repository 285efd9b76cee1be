"""What a video costs at several frame rates: the same as the gate on such a video."""

import clips
import pytest
import torch
from torch.nn import functional

import patchgate
from patchgate.report.costs import DENSE, GATED, CostMeter, Reader, lines_of

GATE = {"size": (48, 64), "patch": 8}


def costs_of(path, gate, rates, chunk=16, **options):
    meter = CostMeter.of(gate, Reader(), rates)
    with patchgate.open_video(path, chunk=chunk, **options) as video:
        for batch in video:
            meter.push(batch)
    return meter.costs()


def rows_of(costs):
    return {(row.fps, row.way): row for row in costs.rows}


@pytest.mark.parametrize("name", ["h264.mp4", "late.mkv", "vfr.mp4"])
@pytest.mark.parametrize("f", [1, 2])
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_a_rate_costs_what_the_gate_keeps_of_a_video_of_that_rate(name, f, chunk):
    path, gate = clips.clip(name), patchgate.Gate(**GATE, temporal_patch=f)
    rows = rows_of(costs_of(path, gate, (1.0, 2.0, 5.0, None), chunk))
    for fps in (1.0, 2.0, 5.0, None):
        want = patchgate.tokenize(path, gate=gate, fps=fps)
        assert rows[fps, GATED].tokens == len(want), fps
        assert -(-rows[fps, GATED].frames // f) == want.shape.T, fps
        assert rows[fps, DENSE].tokens == want.shape.T * want.shape.h * want.shape.w, fps


def test_the_gate_that_sees_every_frame_is_counted_from_its_chunks():
    path, gate = clips.clip("h264.mp4"), patchgate.Gate(**GATE)
    meter = CostMeter.of(gate, Reader(), ())
    tokens = patchgate.tokenize(path, gate=gate, on_chunk=meter.saw)
    rows = rows_of(meter.costs())
    assert rows[None, GATED].tokens == len(tokens)
    assert rows[None, DENSE].tokens == tokens.kind.numel()


def test_rates_above_that_of_the_frames_are_left_out():
    meter = CostMeter.of(patchgate.Gate(**GATE), Reader(), until_fps=2.0)
    with patchgate.open_video(clips.clip("h264.mp4"), fps=2) as video:
        for batch in video:
            meter.push(batch)
    assert {row.fps for row in meter.costs().rows} == {1.0, 2.0}


def test_a_video_without_frames_costs_nothing():
    costs = CostMeter.of(patchgate.Gate(**GATE), Reader()).costs()
    assert all((row.frames, row.tokens) == (0, 0) for row in costs.rows)


@pytest.mark.parametrize("side", [27, 5, 4])
def test_a_pooled_token_is_paid_for_if_a_cell_of_it_was_kept(side):
    """The cells of a pooled one are those that weigh in it, found one by one."""
    half = -(-side // 2)
    each = torch.eye(side * side, dtype=torch.float64).view(-1, 1, side, side)
    weight = functional.interpolate(each, (half, half), mode="bilinear")[:, 0].flatten(1)  # [N, n]
    generator = torch.Generator().manual_seed(side)
    kind = 2 * (torch.rand(6, side, side, generator=generator) < 0.03).to(torch.uint8)
    kind[0], kind[1] = 0, 2
    kind[5, 0, 0] = 1  # moved: no token
    want = sum(int((weight[(one == 2).flatten()] > 0).any(0).sum()) for one in kind)
    reader = Reader("llava-onevision", 32_768, 2)
    assert reader.kept(kind) == want
    assert reader.kept(kind[1:2]) == reader.dense(side, side) == half * half


def test_lines_say_shares_of_the_context_if_there_is_one():
    meter = CostMeter.of(patchgate.Gate(**GATE), Reader("m", 1000, 1), (2.0,))
    with patchgate.open_video(clips.clip("h264.mp4")) as video:
        for batch in video:
            meter.push(batch)
    costs = meter.costs()
    kept, dense = (rows_of(costs)[2.0, way].tokens for way in (GATED, DENSE))
    lines = lines_of(costs.facts())
    assert lines["tokens, 2 fps"] == (
        f"{kept} after the gate, {dense} dense ({kept / 1000:.1%} and {dense / 1000:.1%} of the "
        "context)"
    )
    assert lines["context"] == "1,000 tokens (m)"
