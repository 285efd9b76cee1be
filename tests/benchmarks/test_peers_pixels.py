"""Peers that look at pixels, against values worked out by hand."""

import math

import pytest
import torch
from peers import dtd, grt, patch_stream, rlt
from peers.pixels import patches
from torch import Tensor

P = 2  # patches of 2 x 2 pixels and 3 channels: 12 samples


def steps(*values: float) -> Tensor:
    """Frames of 2 x 4 pixels, ``[T, 3, 2, 4]``: the left patch has these values, the right 0."""
    frames = torch.zeros(len(values), 3, P, 2 * P)
    frames[..., :P] = torch.tensor(values)[:, None, None, None]
    return frames


def kept(mask: Tensor) -> list[list[int]]:
    return mask.flatten(1).int().tolist()


def test_patches_are_cut_row_by_row() -> None:
    frame = torch.arange(8.0).view(1, 2, 4)
    assert patches(frame, P).tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7]]]


# --- RLT --------------------------------------------------------------------------------------


def test_rlt_compares_the_mean_over_patch_and_channels() -> None:
    frames = steps(0, 0, 0)
    frames[1, 2, 0, 0] = 1.1  # one of 12 samples: 0.0917
    frames[2, 2, 0, 0] = 1.1 + 1.3  # 1.3 / 12 = 0.108 more
    assert kept(rlt.keep_mask(frames, P)) == [[1, 1], [0, 0], [1, 0]]


def test_rlt_drifts() -> None:
    frames = steps(*(0.09 * t for t in range(11)))  # 0.9 in the end
    assert kept(rlt.keep_mask(frames, P))[1:] == [[0, 0]] * 10


def test_rlt_compares_the_ends_of_neighbouring_tubelets() -> None:
    frames = steps(0, 0.5, 0.5, 0.05)  # x3 - x0 = 0.05, though x2 - x1 = 0 and x1 - x0 = 0.5
    assert kept(rlt.keep_mask(frames, P, tubelet=2)) == [[1, 1], [0, 0]]
    assert kept(rlt.keep_mask(frames, P, 0.04, tubelet=2)) == [[1, 1], [1, 0]]


def test_rlt_in_chunks_is_rlt() -> None:
    frames = torch.randn(40, 3, 8, 8) / 10
    choice = rlt.choose(rlt.differences(frames, P), 0.12)
    assert torch.equal(choice.keep, rlt.keep_mask(frames, P, 0.12))
    assert 16 < choice.tokens < 40 * 16


# --- GRT --------------------------------------------------------------------------------------


def test_grt_l2_is_anchored_at_what_was_kept() -> None:
    frames = steps(0, 0.08, 0.1, 0.15, 0.19)  # x sqrt(12): 0.277, 0.346 | 0.173, 0.312
    expected = [[1, 1], [0, 0], [1, 0], [0, 0], [1, 0]]
    assert kept(grt.gate(grt.cut(frames, P, "l2"), 0.3, "l2").keep) == expected


def test_grt_l2_scores_are_distances() -> None:
    gated = grt.gate(grt.cut(steps(0, 0.5), P, "l2"), 0.3, "l2")
    assert gated.score[1].tolist() == [[pytest.approx(0.5 * math.sqrt(12)), 0]]
    assert bool(gated.score[0].isinf().all())


def test_grt_ssim_of_flat_patches() -> None:
    # No variance: (2 a b + c1) / (a^2 + b^2 + c1) with c1 = (0.01 * 1)^2, a = 1, b = 1.1.
    score = grt.gate(grt.cut(steps(1, 1.1), P, "ssim"), 0.01, "ssim").score[1, 0]
    assert float(score[0]) == pytest.approx(1 - (2.2 + 1e-4) / (1 + 1.21 + 1e-4), abs=1e-6)
    assert float(score[1]) == pytest.approx(0, abs=1e-6)


def test_grt_ssim_of_opposite_patches() -> None:
    # a = +-2 in turn, b = -a: means 0, variances 4, covariance -4, range 4: c2 = (0.03 * 4)^2.
    a = torch.tensor([2.0, -2] * 2)[:, None].expand(4, 3).T.reshape(1, 3, 2, 2)
    known = grt.cut(torch.cat([a, -a]), P, "ssim")
    expected = 1 - (-8 + 0.0144) / (8 + 0.0144)
    assert float(grt.gate(known, 0.01, "ssim").score[1]) == pytest.approx(expected, rel=1e-5)


def test_grt_ssim_is_wangs_formula_on_every_patch() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 4, 6)
    (score,) = grt.gate(grt.cut(torch.stack([a, b]), P, "ssim"), 0.01, "ssim").score[1:]
    for row in range(2):
        for column in range(3):
            here = (slice(None), slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
            x, y = a[here].flatten(), b[here].flatten()  # [12] each
            span = max(1.0, float(torch.cat([x, y]).max() - torch.cat([x, y]).min()))
            c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
            both = torch.cov(torch.stack([x, y]), correction=0)  # [2, 2]
            ssim = (2 * x.mean() * y.mean() + c1) * (2 * both[0, 1] + c2)
            ssim /= (x.mean() ** 2 + y.mean() ** 2 + c1) * (both[0, 0] + both[1, 1] + c2)
            assert float(score[row, column]) == pytest.approx(1 - float(ssim), abs=1e-5)


def test_grt_packs_the_half_that_moved_most_and_at_least_sixteen() -> None:
    score = torch.arange(80.0).view(2, 5, 8)
    score[0] = torch.inf
    keep = grt.packed(grt.Gated(score > 0, score)).keep
    assert keep.flatten(1).sum(1).tolist() == [20, 20]
    assert bool(keep[1].flatten()[20:].all())
    assert grt.packed(grt.Gated(score[:, :4, :5] > 0, score[:, :4, :5])).tokens == 2 * 16
    assert grt.packed(grt.Gated(score[:, :3, :3] > 0, score[:, :3, :3])).tokens == 2 * 9


# --- DTD --------------------------------------------------------------------------------------


def test_dtd_keeps_a_difference_of_exactly_its_threshold() -> None:
    choice = dtd.by_pixels(dtd.differences(steps(0, 0.125, 0.1875, 0.3125), P), 0.125)
    assert kept(choice.keep) == [[1, 1], [1, 0], [0, 0], [1, 0]]
    assert choice.source.flatten(1).tolist() == [[0, 1], [2, 1], [2, 1], [6, 1]]


def test_dtd_takes_bytes_as_parts_of_255() -> None:
    frames = (steps(0, 1) * 51).to(torch.uint8)  # 0.2
    found = dtd.differences(frames, P)
    assert dtd.by_pixels(found, 0.19).tokens == 3
    assert dtd.by_pixels(found, 0.21).tokens == 2


# --- codec-patch-stream -----------------------------------------------------------------------


def test_patch_stream_finds_motion_everywhere_in_a_flat_still_picture() -> None:
    # The first of equal vectors is (-4, -4): length at its 95th percentile everywhere, error 0.
    luma = torch.full((3, 128, 128), 77, dtype=torch.uint8)
    found = patch_stream.scores(luma, 16)
    assert bool(found[0].isinf().all())
    assert torch.allclose(found[1:], torch.full((2, 8, 8), 0.5 * 16 * 16))


def test_patch_stream_finds_the_vector_of_a_shift() -> None:
    torch.manual_seed(0)
    before = torch.rand(1, 32, 32)
    length, error = patch_stream._search(before.roll((1, 2), (1, 2)), before)
    inner = (0, slice(8, 24), slice(8, 24))
    assert torch.allclose(length[inner], torch.full((16, 16), math.sqrt(5)))
    assert bool((error[inner] == 0).all())


def test_patch_stream_ranks_the_whole_clip() -> None:
    torch.manual_seed(0)
    luma = torch.randint(0, 255, (1, 128, 128), dtype=torch.uint8).repeat(6, 1, 1)
    luma[3:, 64:96, 32:64] = torch.randint(0, 255, (32, 32), dtype=torch.uint8)
    choice = patch_stream.choose(patch_stream.scores(luma, 32), (16 + 1) / 96)
    assert choice.tokens == 17
    assert bool(choice.keep[0].all())
    assert bool(choice.keep[3, 2, 1])


def test_patch_stream_takes_one_frame_whole() -> None:
    energy = patch_stream.scores(torch.zeros(1, 64, 64, dtype=torch.uint8), 16)
    assert patch_stream.choose(energy).tokens == 16
