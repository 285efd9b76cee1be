"""VideoTokens as people hold tensors: devices, dtypes, arrays, batches, a notebook's view."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from token_cases import kept_mask, tokens_of, video_tokens
from torch import Tensor
from torch.utils.data import DataLoader

import patchgate
from patchgate import TokenBatch, VideoTokens, collate


def made(frames: int = 6, width: int = 5, dtype: torch.dtype = torch.float32) -> VideoTokens:
    """Tokens of a tower."""
    kept = kept_mask(frames, (3, 4), seed=frames)
    chance = torch.Generator().manual_seed(frames)
    features = torch.randn(int(kept.sum()), width, generator=chance).to(dtype)
    return video_tokens(kept, features, fps=10.0, start=2.0)


# ---- to, half, float


@pytest.mark.parametrize(
    "brought",
    [
        lambda t: t.half(),
        lambda t: t.to(torch.float16),
        lambda t: t.to("cpu", torch.float16),
        lambda t: t.to(torch.device("cpu"), dtype=torch.float16),
        lambda t: t.to(dtype=torch.float16),
        lambda t: t.to(torch.zeros(1).half()),
        lambda t: t.to(device="cpu", dtype=torch.float16, non_blocking=True),
    ],
)
def test_every_way_to_say_half_is_one(brought: Any) -> None:
    tokens = made()
    got = brought(tokens)
    assert torch.equal(got.features, tokens.features.half())
    for name, tensor in got.tensors().items():
        assert name == "features" or tensor is getattr(tokens, name)
    assert tokens.features.dtype == torch.float32
    assert torch.equal(got.float().features, tokens.features.half().float())
    assert torch.equal(got.dense(), tokens.dense().half())


def test_what_stays_is_not_copied() -> None:
    tokens, pixels = made(), tokens_of("camera")
    assert tokens.to("cpu") is tokens
    assert tokens.float() is tokens
    assert pixels.to("cpu", torch.uint8) is pixels


def test_a_start_picture_goes_with_the_features() -> None:
    part = tokens_of("camera").slice(0.3, 0.6)
    moved = part.to("meta")
    assert moved.start_picture is not None
    assert moved.features.device == moved.start_picture.device == torch.device("meta")
    assert moved.source.device == torch.device("cpu")
    assert part.start_picture.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tokens_of("camera").half(), ValueError,
         r"are the cells' own samples, uint8, .* got torch.float16; tokens\.features\.float\(\)"),
        (lambda: made().to(torch.int32), ValueError, "expected a dtype of floats, got torch.int32"),
        (lambda: made().to("gpu"), TypeError, "expected a device, a dtype or a tensor, got 'gpu'"),
        (lambda: made().to(3.5), TypeError, "expected a device, a dtype or a tensor, got 3.5"),
        (lambda: made().to("cpu", "half"), TypeError, "expected a torch.dtype.*got 'half'"),
        (lambda: made().to(torch.half, torch.float), TypeError, "expected one dtype"),
    ],
)  # fmt: skip
def test_what_is_no_device_or_dtype_is_refused(call: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# ---- numpy


def test_arrays_are_the_tensors() -> None:
    tokens = made()
    arrays = tokens.numpy()
    assert arrays.keys() == tokens.tensors().keys()
    for name, tensor in tokens.tensors().items():
        assert np.array_equal(arrays[name], tensor.numpy()), name
    assert np.shares_memory(arrays["features"], tokens.features.numpy())


def test_bfloat16_is_widened_or_its_bits_or_refused() -> None:
    tokens = made(dtype=torch.bfloat16)
    with pytest.raises(TypeError, match=r"features is bfloat16, .*numpy\(bfloat16='float32'\)"):
        tokens.numpy()
    wide, bits = (tokens.numpy(bfloat16=how)["features"] for how in ("float32", "uint16"))
    assert (wide.dtype, bits.dtype) == (np.float32, np.uint16)
    assert np.array_equal(wide, tokens.features.float().numpy())
    again = torch.from_numpy(bits.view(np.int16)).view(torch.bfloat16)
    assert torch.equal(again, tokens.features)
    with pytest.raises(ValueError, match=r"bfloat16: expected 'float32', 'uint16' .*, got 'f4'"):
        tokens.numpy(bfloat16="f4")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"float8_e4m3fn, which numpy does not have; to\(torch"):
        made(dtype=torch.float8_e4m3fn).numpy()


def test_features_with_a_gradient_become_arrays() -> None:
    tokens = made()
    tokens = replace(tokens, features=tokens.features.requires_grad_())
    assert np.array_equal(tokens.numpy()["features"], tokens.features.detach().numpy())


# ---- batches


def test_a_batch_has_the_tokens_of_each_video() -> None:
    videos = [made(6), made(1), made(9)]
    batch = collate(videos)
    assert len(batch) == 3
    assert batch.cu_seqlens.dtype == torch.int32
    assert batch.cu_seqlens.tolist() == [0, *np.cumsum([len(v) for v in videos])]
    assert batch.max_seqlen == max(map(len, videos))
    for got, video in zip(batch, videos, strict=True):
        assert torch.equal(got, video.features)
    assert batch.video.tolist() == [i for i, v in enumerate(videos) for _ in range(len(v))]
    assert torch.equal(batch.frame, torch.cat([v.frame for v in videos]))
    assert torch.equal(batch.cell, torch.cat([v.cell for v in videos]))
    want = torch.cat([v.pts_seconds[v.frame] for v in videos])
    assert torch.equal(batch.pts_seconds, want)
    assert repr(batch).startswith(f"TokenBatch(B=3, K={sum(map(len, videos))}, D=5, torch.float32")


@pytest.mark.parametrize("value", [0.0, -7.5])
def test_a_padded_batch_masks_what_is_no_token(value: float) -> None:
    videos = [made(2), made(7)]
    features, mask = collate(videos).padded(value)
    assert features.shape == (2, max(map(len, videos)), 5)
    for row, here, video in zip(features, mask, videos, strict=True):
        assert torch.equal(row[here], video.features)
        assert here.sum() == len(video)
        assert bool((row[~here] == value).all())


def test_earlier_tokens_of_a_slice_have_no_time() -> None:
    part = tokens_of("camera").slice(0.3, 0.6)
    before = part.frame < 0
    assert before.any()
    seconds = collate([part]).pts_seconds
    assert torch.equal(seconds.isnan(), before)
    assert torch.equal(seconds[~before], part.pts_seconds[part.frame[~before]])


def test_a_batch_goes_to_a_device_and_a_dtype() -> None:
    batch = collate([made(), made(2)])
    assert batch.to(torch.bfloat16).features.dtype == torch.bfloat16
    moved = batch.to("meta")
    for name in ("features", "cu_seqlens", "frame", "cell", "pts_seconds"):
        assert getattr(moved, name).device == torch.device("meta")
    half = collate([made().half(), made(2).half()]).to("cpu", torch.float32)
    assert half.features.dtype == torch.float32
    assert half.frame.dtype == torch.int64


def test_a_dataloader_collates() -> None:
    videos = [made(n) for n in (1, 2, 3, 4)]
    loader = DataLoader(videos, batch_size=2, collate_fn=patchgate.collate)  # type: ignore[arg-type]
    batches = list(loader)
    assert [len(batch) for batch in batches] == [2, 2]
    assert torch.equal(batches[1].features, torch.cat([v.features for v in videos[2:]]))


def test_videos_without_tokens_have_their_place() -> None:
    none = video_tokens(torch.zeros(0, 3, 4, dtype=torch.bool), torch.zeros(0, 5), 10.0)
    batch = collate([none, made(), none])
    assert [len(each) for each in batch] == [0, len(made()), 0]
    features, mask = collate([none]).padded()
    assert features.shape == (1, 0, 5)
    assert mask.shape == (1, 0)


@pytest.mark.parametrize(
    ("videos", "error", "message"),
    [
        ([], ValueError, "collate: expected at least one video's tokens, got an empty list"),
        (made(), TypeError, r"expected a list of VideoTokens, got VideoTokens; .*\[tokens\]"),
        ([made(), made().features], TypeError, "expected VideoTokens, got Tensor"),
        (iter([made()]), TypeError, "expected a list of VideoTokens, got list_iterator"),
        ([made(), made(width=4)], ValueError, r"of one width.*\[K, 5\].* and \[K, 4\]"),
        ([made(), made().half()], ValueError, r"float32 on cpu and .*float16 on cpu; VideoTok"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_does_not_fit_together_is_refused(videos: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        collate(videos)


# ---- a notebook's view


@pytest.mark.parametrize("tokens", [made(), made(600), tokens_of("camera"), tokens_of("reuse"),
                                    tokens_of("camera").slice(0.3, 0.6)])  # fmt: skip
def test_a_notebook_shows_facts_and_a_plot(tokens: VideoTokens) -> None:
    page = tokens._repr_html_()
    tree = ElementTree.fromstring(page)  # well-formed
    cells = {row[0].text: row[1].text for row in tree.iter("tr")}
    assert cells["tokens"] == (
        f"{len(tokens):,} of {tokens.features.shape[1]} features, "
        f"{str(tokens.features.dtype)[6:]} on cpu"
    )
    assert cells["kept"].startswith(f"{tokens.kept_share:.2%} of the cells")
    assert cells["key frames"] == f"{int(tokens.is_key.sum())}"
    moved, changed = (path.get("d", "") for path in tree.iter("path"))
    width = float(tree.find("svg").get("viewBox").split()[2])  # type: ignore[union-attr]
    assert width == min(tokens.shape.T, width) <= 240
    steps = [float(part.split("h")[0]) for part in changed.split("v-")[1:]]
    shares = (tokens.kind == 2).flatten(1).double().mean(1)
    binned = [float(x.mean()) for x in shares.split(-(-tokens.shape.T // 240))]
    np.testing.assert_allclose(steps, [48 * x for x in binned if x], atol=0.006)
    assert bool(moved) == bool((tokens.kind == 1).any())


def test_a_notebook_shows_no_tokens() -> None:
    none = video_tokens(torch.zeros(0, 3, 4, dtype=torch.bool), torch.zeros(0, 5), 10.0)
    page = none._repr_html_()
    assert "0 of 3 x 4 cells" in page
    assert "svg" not in page


def test_a_batch_is_frozen() -> None:
    batch: TokenBatch = collate([made()])
    with pytest.raises(AttributeError):
        batch.features = Tensor()  # type: ignore[misc]
