"""Tokens of a frame: against the processors of transformers, and figures of qwen-vl-utils."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from since import since

from patchgate.policies import Budget, Cells, llava_onevision, qwen3_vl, qwen25_vl, siglip
from patchgate.policies.grids import tokens_of

SIZES = ((240, 320), (360, 640), (720, 1280), (1080, 1920), (1280, 720), (48, 64), (100, 2000))
COUNTS = (2, 3, 4, 5, 17, 64, 200, 768)


def test_siglip_and_llava_onevision():
    assert tokens_of(siglip(), 1, 1) == 729
    assert tokens_of(siglip(224, 16), 1, 1) == 196
    grid = llava_onevision()
    assert tokens_of(grid, 1, 32) == 196
    assert (grid.extra, grid.group) == (1, 1)
    assert grid.cells(2, 1) == (7, 7)  # ceil(27 / 4)


def test_llava_onevisions_pooling_is_that_of_transformers():
    modeling = pytest.importorskip("transformers.models.llava_onevision.modeling_llava_onevision")
    configuration = pytest.importorskip("transformers").LlavaOnevisionConfig()
    side = configuration.vision_config.image_size // configuration.vision_config.patch_size

    class Fake:
        config = configuration

    pooled = modeling.LlavaOnevisionModel.apply_pooling(Fake(), torch.zeros(1, side * side, 2))
    assert pooled.shape[1] == tokens_of(llava_onevision(), 1, 1)


@pytest.mark.skipif(not since("5.18"), reason="an odd last frame was not counted")
@pytest.mark.parametrize("capped", [False, True])
def test_qwen3_vl_as_transformers_has_it(capped):
    module = pytest.importorskip("transformers.models.qwen3_vl.video_processing_qwen3_vl")
    rounding = "transformers_capped" if capped else "transformers"
    for most in (768, 24_576):
        size = {"shortest_edge": 128 * 32 * 32, "longest_edge": most * 32 * 32}
        options = {"size": size, "cap_pixels_per_frame": capped, "patch_size": 16,
                   "merge_size": 2, "temporal_patch_size": 2}  # fmt: skip
        count = module.Qwen3VLVideoProcessor.get_num_of_video_patches
        for (h, w), n in itertools.product(SIZES, COUNTS):
            patches = count(_Qwen3(module, capped), n, h, w, options)
            got = -(-n // 2) * tokens_of(qwen3_vl(h, w, rounding, most), 1, n)
            assert got * 4 == patches, (h, w, n, most)


def _Qwen3(module, capped):
    class Settings:
        max_video_tokens = 768
        cap_pixels_per_frame = capped

    return Settings()


@pytest.mark.parametrize("capped", [False, True])
def test_qwen25_vl_as_transformers_has_it(capped):
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    for (h, w), n in itertools.product(SIZES, COUNTS):
        most = 768 * 28 * 28
        if capped:  # the arithmetic of its ``resize``
            most = max(min(most, int(128_000 * 28 * 28 * 0.9) * 2 // n), int(128 * 28 * 28 * 1.05))
        height, width = module.smart_resize(h, w, 28, 128 * 28 * 28, most)
        grid = qwen25_vl(h, w, "transformers_capped" if capped else "transformers")
        assert grid.cells(1, n) == (height // 28, width // 28), (h, w, n)


def test_roundings_disagree_as_was_seen():
    """Counted with qwen-vl-utils of Qwen3-VL's repository and transformers 5.23, 2026-11-22."""

    def tokens(rounding, most, n):
        return -(-n // 2) * tokens_of(qwen3_vl(1080, 1920, rounding, most), 1, n)

    assert tokens("qwen_vl_utils", 115_200, 768) == 105_984
    assert tokens("transformers", 115_200, 768) == 55_296
    assert tokens("qwen_vl_utils", 24_576, 4) == 1_440
    assert tokens("transformers", 24_576, 4) == 4_080


def test_tokens_do_not_fall_by_the_square_of_the_scale():
    for grid, scale, share in (
        (Cells(16, 16), 1.41, 0.94),
        (Cells(9, 16), 4, 0.89),
        (Cells(12, 22), 4, 1.09),
    ):
        full = tokens_of(grid, 1, 1)
        assert tokens_of(grid, scale, 1) * round(scale**2) / full == pytest.approx(share, abs=0.01)


@settings(max_examples=200)
@given(
    h=st.integers(28, 2000), w=st.integers(28, 2000), n=st.integers(1, 800),
    tokens=st.integers(64, 50_000),
    rounding=st.sampled_from(["transformers", "transformers_capped", "qwen_vl_utils"]),
)  # fmt: skip
def test_a_count_fits(h, w, n, tokens, rounding):
    if max(h, w) > 200 * min(h, w):
        return
    for grid in (qwen25_vl(h, w, rounding), qwen3_vl(h, w, rounding), siglip()):
        budget = Budget(tokens=tokens, grid=grid)
        k = budget.count(n)
        assert 1 <= k <= n
        if k > 1:
            assert -(-k // grid.group) * tokens_of(grid, 1, k) <= tokens


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Budget(frames=0), "at least 1"),
        (lambda: Budget(tokens=100), "needs Budget.grid"),
        (lambda: Budget(tokens=1.5, grid=siglip()), "whole number"),
        (lambda: qwen3_vl(720, 1280, "mine"), "rounding"),
        (lambda: qwen25_vl(2, 1000).cells(1, 2), "aspect ratio"),
        (lambda: Cells(0, 4), "at least 1"),
    ],
)
def test_what_makes_no_sense_is_refused(make, says):
    with pytest.raises((ValueError, TypeError), match=says):
        make()
