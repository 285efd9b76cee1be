"""Which video tokens can be: every field against the others."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_cases import random_tokens
from safetensors.torch import save_file
from token_cases import assert_same, kept_mask, tokens_of, video_tokens

import patchgate
from patchgate import VideoTokens
from patchgate.gate.settings import CHANGED, MERGED, MOVED, STATIC
from patchgate.tokens import check as token_check
from patchgate.tokens import file as token_file
from patchgate.tokens.check import contradiction

CASES: dict[str, Any] = {
    "pixels": lambda: tokens_of("camera"),
    "tubelets": lambda: tokens_of("tubelets"),
    "quarters": lambda: tokens_of("quarters"),
    "a slice": lambda: tokens_of("reuse").slice(0.2, 0.6),
    "a slice of a slice": lambda: tokens_of("camera").slice(0.1, 0.7).slice(0.3, 0.6),
    "a slice from a cut on": lambda: tokens_of("camera").slice(0.5, 0.8),
    "merged pixels": lambda: patchgate.merge(tokens_of("camera"), ratio=0.6),
    "a tower's": lambda: random_tokens(t=15),
    "merged": lambda: patchgate.merge(random_tokens(t=15), ratio=0.5, window=4),
    "a slice that was merged": lambda: patchgate.merge(
        random_tokens(t=15).slice(0.3, 0.9), ratio=0.5
    ),
    "a slice of pixels that was merged": lambda: patchgate.merge(
        tokens_of("reuse").slice(0.2, 0.6), ratio=0.5
    ),
    "a merged slice": lambda: patchgate.merge(random_tokens(t=15), ratio=0.5).slice(0.3, 0.9),
    "no frames": lambda: none_of(tokens_of("camera")),
}
every_case = pytest.mark.parametrize("name", CASES)


def none_of(tokens: VideoTokens) -> VideoTokens:
    empty = {name: value[:0] for name, value in tokens.tensors().items()}
    return replace(tokens, **{**empty, "cu_seqlens": tokens.cu_seqlens[:1]})


def told(tokens: VideoTokens) -> dict[str, Any] | None:
    return None if tokens.layout is None else asdict(tokens.layout)


def wrong(tokens: VideoTokens) -> str | None:
    return contradiction(tokens.tensors(), told(tokens))


@every_case
@pytest.mark.parametrize("together", [1, 30, 1 << 17])
def test_true_tokens_pass_and_load(
    name: str, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_check, "_TOGETHER", together)  # cells: frames of one part
    tokens = CASES[name]()
    assert wrong(tokens) is None
    tokens.save(tmp_path / "t")
    assert_same(VideoTokens.load(tmp_path / "t"), tokens)


# ---- one field at a time


def put(name: str, index: Any, value: Any) -> Any:
    def change(fields: dict[str, Any]) -> None:
        fields[name][index] = value

    return change


def made(name: str, make: Any) -> Any:
    def change(fields: dict[str, Any]) -> None:
        fields[name] = make(fields[name])

    return change


def first(fields: dict[str, Any], kind: int, after: int = 1) -> tuple[int, int, int]:
    """A cell of a kind in a later frame."""
    t, row, column = (fields["kind"][after:] == kind).nonzero()[0].tolist()
    return t + after, row, column


def shown_elsewhere(fields: dict[str, Any]) -> None:
    """A changed cell that shows another token of its frame."""
    t = int(fields["frame"][-1])
    begin = int(fields["cu_seqlens"][t])
    row, column = fields["cell"][-1].tolist()
    fields["source"][t, row, column] = begin if begin < len(fields["frame"]) - 1 else 0


def shows_the_future(fields: dict[str, Any]) -> None:
    fields["source"][first(fields, STATIC)] = len(fields["frame"]) - 1


WRONG: dict[str, tuple[Any, str]] = {
    "cell negative": (put("cell", 5, -1), "cell: expected cells of 3 x 4"),
    "cell beyond": (put("cell", 5, 99), "cell: expected cells of 3 x 4"),
    "cell twice": (lambda f: f["cell"][5].copy_(f["cell"][4]), "cell: expected each once"),
    "cells out of order": (lambda f: f["cell"][:2].copy_(f["cell"][:2].flip(0)), "reading order"),
    "frame of none": (put("frame", -1, 10**15), "frame: expected those that cu_seqlens says"),
    "frame negative": (put("frame", -1, -1), "frame: expected those"),
    "ends that fall": (made("cu_seqlens", lambda x: x.flip(0).contiguous()), "cu_seqlens"),
    "ends short": (put("cu_seqlens", -1, 3), "cu_seqlens does not lead up"),
    "ends from below": (put("cu_seqlens", 0, -5), "cu_seqlens"),
    "ends from above": (put("cu_seqlens", 0, 3), "frame: expected negative ones of the first 3"),
    "ends of others": (lambda f: f["cu_seqlens"][1:-1].fill_(12), "frame: expected those"),
    "source negative": (put("source", (3, 0, 0), -1), "source refers to tokens"),
    "source beyond": (put("source", (3, 0, 0), 10**6), "source refers to tokens"),
    "source of the future": (shows_the_future, "source refers to tokens"),
    "source of another": (shown_elsewhere, "source: expected every token in its own cell"),
    "kind unknown": (put("kind", (3, 0, 0), 200), "kind: expected 0..4, got 200"),
    "kind changed without a token": (
        lambda f: f["kind"].__setitem__(first(f, STATIC), CHANGED),
        "kind: expected a token of its own for every changed cell",
    ),
    "pts NaN": (put("pts_seconds", 3, float("nan")), "pts_seconds: expected finite times"),
    "pts infinite": (put("pts_seconds", -1, float("inf")), "pts_seconds"),
    "pts fall": (made("pts_seconds", lambda x: x.flip(0).contiguous()), "pts_seconds"),
    "duration negative": (put("duration_seconds", 2, -5.0), "duration_seconds: expected"),
    "duration NaN": (put("duration_seconds", 2, float("nan")), "duration_seconds: expected"),
    "span short": (put("span", 0, 0), "span: expected frames"),
    "span long": (put("span", -1, 99), "span: expected frames"),
    "motion of a still cell": (
        lambda f: f["motion"].__setitem__(first(f, STATIC), 1),
        "motion: expected 0 of cells that have not moved",
    ),
}
WRONG_PIXELS: dict[str, tuple[Any, str]] = {
    "motion out of the picture": (
        lambda f: f["motion"].__setitem__(first(f, MOVED), 100),
        "motion: a vector leads out of the picture",
    ),
    "a token of a still cell": (
        lambda f: f["kind"].__setitem__(first(f, CHANGED, 0), MERGED),
        "kind: expected tokens of pixels of changed cells only",
    ),
    "a still cell that turns": (
        lambda f: f["source"].__setitem__(first(f, STATIC), f["source"][0, 0, 0]),
        "source: expected cells that stand still to show what they did",
    ),
    "features of floats": (made("features", torch.Tensor.float), "expected uint8 features"),
    "features too narrow": (
        made("features", lambda x: x[:, :5].clone()),
        "expected uint8 features",
    ),
    "a start picture of floats": (
        lambda f: f.update(start_picture=torch.zeros(1, 3, 24, 32)),
        "expected start_picture uint8",
    ),
    "a start picture too small": (
        lambda f: f.update(start_picture=torch.zeros(1, 3, 8, 8, dtype=torch.uint8)),
        "expected start_picture uint8",
    ),
}


def earlier_in_another_order(fields: dict[str, Any]) -> None:
    """Which frame emitted them, turned round; spans as they follow from that."""
    first = int(fields["cu_seqlens"][0])
    frame, span = fields["frame"][:first], fields["span"][:first]
    assert len(frame.unique()) > 1
    last = frame + span
    frame.copy_(frame.flip(0))
    span.copy_(last - frame)


def earlier_at_one_place(fields: dict[str, Any]) -> None:
    first = int(fields["cu_seqlens"][0])
    last = fields["frame"][:first] + fields["span"][:first]
    fields["cell"][:first] = fields["cell"][0].clone()
    fields["frame"][:first] = -1
    fields["span"][:first] = last + 1


def earlier_that_nothing_shows(fields: dict[str, Any]) -> None:
    """One more token before the others."""
    for name in ("features", "frame", "cell", "span"):
        fields[name] = torch.cat([fields[name][:1], fields[name]])
    fields["frame"][0] = fields["frame"][1] - 1
    fields["span"][0] = 1
    fields["cu_seqlens"] += 1
    fields["source"] += 1


WRONG_EARLIER: dict[str, tuple[Any, str]] = {
    "in another order": (earlier_in_another_order, "earlier tokens in the order"),
    "at one place": (earlier_at_one_place, "earlier tokens in the order"),
    "not shown": (earlier_that_nothing_shows, "earlier tokens to be shown"),
}


@pytest.mark.parametrize("what", WRONG_EARLIER)
@pytest.mark.parametrize("name", ["a slice", "a merged slice"])
def test_earlier_tokens_that_no_slice_has_are_refused(name: str, what: str, tmp_path: Path) -> None:
    tokens = CASES[name]()
    fields = fields_of(tokens)
    WRONG_EARLIER[what][0](fields)
    refused(fields, told(tokens), WRONG_EARLIER[what][1], tmp_path)


def fields_of(tokens: VideoTokens) -> dict[str, Any]:
    return {name: value.clone() for name, value in tokens.tensors().items()}


def refused(fields: dict[str, Any], layout: Any, message: str, folder: Path) -> None:
    found = contradiction(fields, layout)
    assert found is not None
    assert message in found
    save_file(
        {name: value.contiguous() for name, value in fields.items()},
        folder / "damaged",
        token_file.metadata(layout),
    )
    with pytest.raises(ValueError, match="damaged: ") as error:
        VideoTokens.load(folder / "damaged")
    assert message in str(error.value)


@pytest.mark.parametrize("what", WRONG)
def test_a_field_that_contradicts_the_others_is_refused(what: str, tmp_path: Path) -> None:
    tokens = tokens_of("camera")
    fields = fields_of(tokens)
    WRONG[what][0](fields)
    refused(fields, told(tokens), WRONG[what][1], tmp_path)


@pytest.mark.parametrize("what", WRONG_PIXELS)
def test_pixels_that_could_not_be_rebuilt_are_refused(what: str, tmp_path: Path) -> None:
    tokens = tokens_of("camera")
    fields = fields_of(tokens)
    WRONG_PIXELS[what][0](fields)
    refused(fields, told(tokens), WRONG_PIXELS[what][1], tmp_path)


# ---- against a definition that is obvious and slow


def contradicts(tokens: VideoTokens) -> bool:
    """The rules once more, cell by cell."""
    k, (frames, h, w) = len(tokens), tokens.source.shape
    ends, frame, cell = tokens.cu_seqlens.tolist(), tokens.frame.tolist(), tokens.cell.tolist()
    if ends[0] < 0 or ends[-1] != k or ends != sorted(ends):
        return True
    if any(not (0 <= row < h and 0 <= column < w) for row, column in cell):
        return True
    if any(number >= 0 for number in frame[: ends[0]]):
        return True
    emitted = [(frame[i], *cell[i]) for i in range(ends[0])]
    if emitted != sorted(set(emitted)):
        return True
    last = list(frame)
    for t in range(frames):
        own = range(ends[t], ends[t + 1])
        places = [tuple(cell[i]) for i in own]
        if any(frame[i] != t for i in own) or places != sorted(set(places)):
            return True
        for y in range(h):
            for x in range(w):
                source, kind = int(tokens.source[t, y, x]), int(tokens.kind[t, y, x])
                if kind > MERGED or not 0 <= source < ends[t + 1]:
                    return True
                if kind == CHANGED and (y, x) not in places:
                    return True
                if (y, x) in places and source != own[places.index((y, x))]:
                    return True
                if kind != MOVED and bool(tokens.motion[t, y, x].any()):
                    return True
                last[source] = t
    times = tokens.pts_seconds.tolist()
    if times != sorted(times) or not np.isfinite([*times, *tokens.duration_seconds.tolist()]).all():
        return True
    if any(seconds < 0 for seconds in tokens.duration_seconds.tolist()):
        return True
    if any(number < 0 for number in last[: ends[0]]):
        return True
    return tokens.span.tolist() != [b - a + 1 for a, b in zip(frame, last, strict=True)]


@settings(max_examples=300)
@given(st.data())
def test_numbers_altered_at_random_are_found(data: st.DataObject) -> None:
    tokens = video_tokens(kept_mask(6, (2, 3), data.draw(st.integers(0, 5))), torch.zeros(0), 10)
    tokens = replace(tokens, features=torch.zeros(len(tokens.frame), 2))
    if data.draw(st.booleans()):
        tokens = tokens.slice(0.25, 0.55)
    name = data.draw(st.sampled_from([name for name in token_check.FIELDS if name != "features"]))
    fields = fields_of(tokens)
    flat = fields[name].view(-1)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(flat) - 1))
        values = [0, 1, 2, 3, 5, int(flat[at]) + 1, max(0, int(flat[at]) - 1)]
        if flat.dtype != torch.uint8:
            values.append(-1)
        flat[at] = data.draw(st.sampled_from(values))
    altered = replace(tokens, **fields)
    assert (wrong(altered) is not None) == contradicts(altered)


def test_a_million_tokens_are_checked_without_a_loop_over_frames() -> None:
    kept = torch.rand(1400, 27, 27, generator=torch.Generator().manual_seed(0)) < 0.1
    kept[0] = True
    tokens = video_tokens(kept, torch.zeros(0), 30)
    tokens = replace(tokens, features=torch.zeros(len(tokens.frame), 1))
    spent = []
    for _ in range(5):
        begin = time.thread_time()
        assert wrong(tokens) is None
        spent.append(time.thread_time() - begin)
    # A hundred thousand tokens: 5 ms on an idle machine. A loop in Python would take a second.
    assert min(spent) < 0.05


def test_metadata_is_json() -> None:
    assert json.loads(token_file.metadata(None)["layout"]) is None
