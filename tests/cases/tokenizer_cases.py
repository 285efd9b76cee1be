"""Tokenizers of every kind, for the tests of pushes and of their states."""

from collections.abc import Callable
from functools import cache
from typing import Any

import qwen_cases
import torch
from gate_videos import busy_video
from stream_cases import RULES, gated
from token_cases import KINDS, SIZE

import patchgate
from patchgate import FrameBatch, Gate, TokenChunk, Tokenizer, VideoTokens
from patchgate.decode import Colour
from patchgate.gather import PixelSpec
from patchgate.gather.resize import Keep

FRAMES = 11
SECONDS = [0.0, 0.04, 0.1, 0.1, 0.2, 0.5, 0.54, 0.58, 1.0, 1.04, 1.1]
COLOUR = Colour("bt709", full_range=True)


@cache
def whole() -> FrameBatch:
    """A pan with an object, then a cut; times that are uneven."""
    planes = busy_video(0, FRAMES)  # [T, 3, H, W]
    y, cb, cr = (plane.contiguous() for plane in planes.unbind(1))
    pts = torch.tensor(SECONDS).double()
    lasts = torch.cat([pts.diff(), pts.new_tensor([0.04])])
    return FrameBatch((y, cb, cr), pts, lasts, COLOUR)


def part(begin: int, end: int) -> FrameBatch:
    """Some frames of ``whole``."""
    batch = whole()
    y, cb, cr = (plane[begin:end] for plane in batch.planes)
    times = batch.pts_seconds[begin:end], batch.duration_seconds[begin:end]
    return FrameBatch((y, cb, cr), *times, batch.colour)


@cache
def _qwen(family: str) -> Any:
    return qwen_cases.tower(family)


MAKERS: dict[str, Callable[[], Tokenizer]] = {
    name: lambda rules=rules: Tokenizer(gate=Gate(patch=8, **rules), size=SIZE)
    for name, rules in KINDS.items()
}
MAKERS |= {rule: lambda rule=rule: Tokenizer(gated("siglip", **RULES[rule])) for rule in RULES}
# Frames in pairs, a grid of the video's own size, features of tapped layers.
QWEN = PixelSpec(Keep(), 0.5, 0.25, qwen_cases.P, qwen_cases.M, 2)
MAKERS |= {
    family: lambda family=family: Tokenizer(patchgate.gated(_qwen(family), QWEN, threshold=20))
    for family in ("qwen25", "qwen3")
}
MAKERS["clip"] = lambda: Tokenizer(gated("clip", **RULES["watched"]))


def make(name: str) -> Tokenizer:
    return MAKERS[name]()


@cache
def expected(name: str) -> VideoTokens:
    """What one push of all frames gives."""
    tokenizer = make(name)
    return tokenizer.joined([tokenizer.push(whole()), tokenizer.flush()])


def assert_alike(got: VideoTokens, want: VideoTokens) -> None:
    """All tables are equal; features of pixels too, and those of a tower up to their rounding."""
    other: dict[str, Any] = want.tensors()
    for name, tensor in got.tensors().items():
        if name == "features" and tensor.is_floating_point():
            torch.testing.assert_close(tensor, other[name], atol=1e-9, rtol=1e-9)
        else:
            assert torch.equal(tensor, other[name]), name
    assert got.layout == want.layout
    assert got.grid == want.grid


def assert_chunks(got: TokenChunk, want: TokenChunk) -> None:
    assert got.tensors().keys() == want.tensors().keys()
    for name, one in got.tensors().items():
        other = want.tensors()[name]
        if one.is_floating_point():
            torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)
        else:
            assert torch.equal(one, other), name
