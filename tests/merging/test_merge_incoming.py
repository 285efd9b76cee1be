"""What is wrong is refused when it comes, by its name, and leaves no trace."""

import math
from collections.abc import Callable

import pytest
import torch
from merge_cases import chunk_of, random_tokens
from token_cases import video_tokens

from patchgate import MergeStream, TokenChunk, merge
from patchgate.tokens.chunk import joined, split

Fault = Callable[[TokenChunk], TokenChunk]


def put(name: str, at: int | tuple[int, ...], value: float) -> Fault:
    """One number of a field is another."""

    def spoil(chunk: TokenChunk) -> TokenChunk:
        field = getattr(chunk, name).clone()
        field[at] = value
        return chunk._replace(**{name: field})

    return spoil


def cast(name: str, dtype: torch.dtype) -> Fault:
    return lambda chunk: chunk._replace(**{name: getattr(chunk, name).to(dtype)})


def short(name: str) -> Fault:
    """A field lacks its last row."""
    return lambda chunk: chunk._replace(**{name: getattr(chunk, name)[:-1]})


def wider(chunk: TokenChunk) -> TokenChunk:
    return chunk._replace(features=torch.randn(len(chunk.frame), 7))


def flat(chunk: TokenChunk) -> TokenChunk:
    return chunk._replace(features=chunk.features[:, 0])


def no_tensor(chunk: TokenChunk) -> TokenChunk:
    return chunk._replace(kind=chunk.kind.tolist())


def lower(chunk: TokenChunk) -> TokenChunk:
    return chunk._replace(**{n: getattr(chunk, n)[:, :-1] for n in ("source", "kind", "motion")})


def of_the_next_frame(chunk: TokenChunk) -> TokenChunk:
    source = chunk.source.clone()
    source[0, 1, 0] = source.max()
    return chunk._replace(source=source)


def backwards(chunk: TokenChunk) -> TokenChunk:
    return chunk._replace(frame=chunk.frame.flip(0))


SHAPE = r"expected \[.*\] = \[.*\] beside features \[.*\] and source \[.*\], got \["
FAULTS: list[tuple[Fault, type[Exception], str]] = [
    (put("features", (0, 1), math.nan), ValueError, "features: expected finite features of"),
    (
        cast("features", torch.bool),
        TypeError,
        "features: expected torch.float32 .* before, got torch.bool",
    ),
    (
        cast("features", torch.float64),
        TypeError,
        "features: expected torch.float32 .* got torch.float64",
    ),
    (wider, ValueError, "features: expected 6 numbers a token like those before, got 7"),
    (flat, ValueError, r"features: expected \[K, D\], got \["),
    (short("features"), ValueError, f"frame: {SHAPE}"),
    (short("frame"), ValueError, f"frame: {SHAPE}"),
    (backwards, ValueError, "frame: .* in the order of their frames, got one of frame 3 after one"),
    (short("cell"), ValueError, f"cell: {SHAPE}"),
    (put("cell", (1, 0), 4), ValueError, r"cell: expected cells of 4 x 5, got \(4, \d\)"),
    (cast("cell", torch.int32), TypeError, "cell: expected torch.int64 on the CPU, got .*int32"),
    (short("source"), ValueError, f"pts_seconds: {SHAPE}"),
    (lower, ValueError, "source: expected 4 x 5 cells like those before, got 3 x 5"),
    (put("source", (1, 2, 3), 999), ValueError, r"source: .* got 999 in its cell \(2, 3\)"),
    (put("source", (0, 0, 0), -1), ValueError, r"source: .* got -1 in its cell \(0, 0\)"),
    (of_the_next_frame, ValueError, r"source: expected .* of frame 3 and those before, got \d+"),
    (short("pts_seconds"), ValueError, f"pts_seconds: {SHAPE}"),
    (put("pts_seconds", 0, 0.1), ValueError, "pts_seconds: .* do not fall, got 0.1 after 0.2"),
    (put("pts_seconds", 1, math.nan), ValueError, "pts_seconds: .* got nan after 0.3"),
    (short("duration_seconds"), ValueError, f"duration_seconds: {SHAPE}"),
    (no_tensor, TypeError, r"kind: expected a tensor \[T, h, w\], got list"),
    (short("kind"), ValueError, f"kind: {SHAPE}"),
    (short("motion"), ValueError, f"motion: {SHAPE}"),
]


@pytest.mark.parametrize(("fault", "error", "message"), FAULTS)
@pytest.mark.parametrize("window", [8, 2])  # what is wrong would only wait; would be merged at once
def test_a_chunk_is_refused_when_it_comes(fault, error, message, window: int) -> None:
    tokens = random_tokens()
    asked = {"budget": 30, "per": "second", "window": window}
    stream, (first, rest) = MergeStream(**asked), split(chunk_of(tokens), 3)
    good, rest = split(rest, 2, 3)
    out = stream.push(first)
    for _ in range(2):
        with pytest.raises(error, match=rf"chunk\.{message}"):
            stream.push(fault(good))
    got = joined([*out, *stream.push(good), *stream.push(rest), *stream.flush()])
    whole = merge(tokens, **asked)
    for name in TokenChunk._fields[:-2]:  # no light
        assert torch.equal(getattr(got, name), getattr(whole, name)), name


def test_the_first_chunk_may_be_wrong_and_then_of_any_kind() -> None:
    first, _ = split(chunk_of(random_tokens()), 3)
    stream = MergeStream(window=4, ratio=0.9)
    with pytest.raises(TypeError, match=r"chunk\.features: expected .* got torch.complex64"):
        stream.push(first._replace(features=first.features.to(torch.complex64)))
    other, _ = split(chunk_of(random_tokens(grid=(3, 2))), 3)
    assert stream.push(wider(other)) == []
    assert stream.flush()[0].features.shape[1] == 7


@pytest.mark.parametrize("name", ["frame", "cell", "pts_seconds", "kind", "motion"])
def test_tokens_of_a_whole_video_are_looked_at_likewise(name: str) -> None:
    tokens = random_tokens()
    setattr(tokens, name, getattr(tokens, name)[:-1])
    with pytest.raises(ValueError, match=rf"tokens\.{name}: {SHAPE}"):
        merge(tokens, ratio=0.9)


@pytest.mark.parametrize("window", [1, 2, 3, None])
def test_a_grid_that_was_lost_long_ago_is_noticed(window: int | None) -> None:
    """The token that stands for cells of two blocks is not carried over into their window."""
    looks = torch.randn(3, 4, 8)
    looks[2] = looks[0, 0]
    kept = torch.ones(3, 1, 4, dtype=torch.bool)
    lost = merge(video_tokens(kept, looks.flatten(0, 1), 10.0), threshold=0.01, delta=None)
    message = r"cell \(0, 2\) of frame 2 was merged before, into the token of cell \(0, 0\)"
    asked = {"ratio": 1.0, "keep_grid": True, "delta": None, "window": window}
    with pytest.raises(ValueError, match=message):
        merge(lost, **asked)
    if window is not None:
        stream, (first, rest) = MergeStream(**asked), split(chunk_of(lost), 2)
        stream.push(first)
        with pytest.raises(ValueError, match=message):
            stream.push(rest)
