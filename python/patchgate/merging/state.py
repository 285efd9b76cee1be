"""Converts a merge stream's state to a flat dict of tensors, and back.

``state_check`` finds what is wrong in such a state.

Letters: h w cells, S scenes.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from patchgate._tensors import doubles, whole
from patchgate.gate.saved import (
    DIGEST,
    Saved,
    check_digest,
    check_tensors,
    letters,
    sealed,
    text_of,
)
from patchgate.merging.checks import Before
from patchgate.merging.ledger import Ledger
from patchgate.merging.merger import Carried, Merger
from patchgate.merging.now import Now
from patchgate.merging.scenes import Head, Seen
from patchgate.merging.settings import MergeSettings
from patchgate.merging.state_check import contradiction
from patchgate.merging.state_fields import Counts, wrong_names, wrong_shapes
from patchgate.tokens import TokenChunk
from patchgate.tokens.chunk import joined

_ON_DEVICE = ("waiting.features", "carried.features")  # all else is on the CPU


# ---- to tensors


def state_of(now: Now) -> Saved:
    """Returns copies of all of it but the head."""
    merger, before = now.merger, now.before
    state = {"settings": letters(json.dumps(_owner(now.settings, now.head)))}
    state["counts"] = whole(_counts(now))
    if before.cells is not None:
        chunk = joined(now.waiting) if now.waiting else _no_frames(before)
        state |= {f"waiting.{name}": tensor for name, tensor in chunk.tensors().items()}
        state |= _of_ledger("cells", before.cells)
        state["clock"] = doubles([now.origin or 0.0, before.until])
    if merger.carried is not None:
        state |= {f"carried.{name}": part for name, part in merger.carried._asdict().items()}
        state |= _of_ledger("titles", merger.titles)
        state |= _of_scenes(merger)
    return sealed(state)


def _owner(settings: MergeSettings, head: Head | None) -> dict[str, Any]:
    """Describes the streams to which a state belongs."""
    return {**asdict(settings), "head": head is not None}


def _counts(now: Now) -> Counts:
    merger = now.merger
    return Counts(
        frames=merger.frames,
        tokens=len(merger.titles),
        titles=merger.handed_out,
        scenes=merger.scenes.scene + 1,
        labels=merger.scenes.labels,
        second=merger.budget.second,
        spent=merger.budget.spent,
        ended=int(now.ended),
    )


def _no_frames(before: Before) -> TokenChunk:
    """Makes a chunk of no frames that fits those before."""
    assert before.features is not None
    assert before.grid is not None

    def none(dtype: torch.dtype, *shape: int) -> Tensor:
        return torch.zeros(0, *shape, dtype=dtype, device="cpu")

    return TokenChunk(
        features=before.features,
        frame=none(torch.int64),
        cell=none(torch.int64, 2),
        pts_seconds=none(torch.float64),
        duration_seconds=none(torch.float64),
        source=none(torch.int64, *before.grid),
        kind=none(torch.uint8, *before.grid),
        motion=none(torch.int8, *before.grid, 2),
    )


def _of_ledger(name: str, book: Ledger) -> Saved:
    near, near_rows = book.near
    return {f"{name}.names": near, f"{name}.near": near_rows, f"{name}.rows": book.table()}


def _of_scenes(merger: Merger) -> Saved:
    """Returns the remembered scenes, the current one first."""
    tracker = merger.scenes
    assert tracker.current is not None
    seen = [tracker.current, *tracker.over]
    distributions = [each.distribution.cpu() for each in seen]
    pictures = [each.picture for each in seen if each.picture is not None]
    state = {
        "scenes.label": whole(each.label for each in seen),  # [S]
        "scenes.length": whole(map(len, distributions)),  # [S]
        "scenes.distribution": torch.cat(distributions),
        "scenes.picture": torch.stack(pictures),  # [S, h, w]
    }
    if tracker.returned is not None:
        state["scenes.returned"] = tracker.returned  # [h, w]
    return state


# ---- from tensors


def now_of(state: Mapping[str, Tensor], settings: MergeSettings, head: Head | None) -> Now:
    """Makes the state of a stream from copies of the tensors of ``state_of``.

    Args:
        state: the tensors.
        settings, head: those of the stream that it is for.

    Raises:
        ValueError: it is no such state, one of other settings, or a damaged one.
    """
    try:
        check_tensors(state, "state_dict")
        if "settings" not in state:
            raise ValueError("settings missing")
        _check_owner(text_of("settings", state["settings"]), _owner(settings, head))
        if wrong := wrong_names(state, settings):
            raise ValueError(wrong)
        own = {name: _copied(name, tensor) for name, tensor in state.items() if name != DIGEST}
        now = _built(own, settings, head)
        if wrong := contradiction(now):
            raise ValueError(wrong)
        check_digest(state)
    except (TypeError, ValueError) as error:
        raise ValueError(f"state: {error}") from error
    return now


def _copied(name: str, tensor: Tensor) -> Tensor:
    copy = tensor.detach().clone()
    return copy if name in _ON_DEVICE else copy.cpu()


def _check_owner(text: str, expected: dict[str, Any]) -> None:
    """Checks that a state has these settings."""
    try:
        owner = json.loads(text)
    except (ValueError, RecursionError):
        owner = None
    if not isinstance(owner, dict) or owner.keys() != expected.keys():
        raise ValueError(f"expected settings of {', '.join(expected)} as JSON, got {text[:80]!r}")
    differs = [name for name, value in expected.items() if owner[name] != value]
    if "head" in differs:
        with_, without = ("with", "without") if owner["head"] else ("without", "with")
        raise ValueError(f"of a stream {with_} a head=, this one is {without} one")
    if differs:
        of, here = (
            ", ".join(f"{name}={of[name]!r}" for name in differs) for of in (owner, expected)
        )
        raise ValueError(
            f"of a stream with {of}, this one has {here}; make a MergeStream of the state's "
            "settings, or relax() this one to them first"
        )


def _built(state: Saved, settings: MergeSettings, head: Head | None) -> Now:
    """Builds the state from the tensors.

    Raises:
        TypeError, ValueError: the tensors do not fit together.
    """
    counts = Counts.of(state["counts"], settings)
    now = Now.fresh(settings, head)._replace(ended=bool(counts.ended))
    if "waiting.features" not in state:
        return now
    known = {name: state.get(f"waiting.{name}") for name in TokenChunk._fields}
    chunk = TokenChunk(**{name: part for name, part in known.items() if part is not None})
    past = Before(settings, "waiting", counts.frames, counts.tokens)
    past.check(chunk)
    if wrong := wrong_shapes(state, chunk):
        raise ValueError(wrong)
    frames, tokens = counts.frames + len(chunk.kind), counts.tokens + len(chunk.frame)
    origin, until = state["clock"].tolist()
    merger = _merger(state, counts, now.merger, origin)
    before = Before(
        settings,
        "chunk",
        frames=frames,
        tokens=tokens,
        features=chunk.features.new_empty(0, chunk.features.shape[1]),
        grid=(chunk.source.shape[1], chunk.source.shape[2]),
        until=until,
        cells=_ledger(state, "cells", tokens),
        shown=chunk.source[-1] if len(chunk.kind) else merger.shown,
    )
    waiting = [chunk] if len(chunk.kind) else []
    return now._replace(
        merger=merger, before=before, waiting=waiting, origin=origin if frames else None
    )


def _merger(state: Saved, counts: Counts, merger: Merger, origin: float) -> Merger:
    """The fresh one, as it was when the counts were taken."""
    if not counts.frames:
        return merger
    merger.frames, merger.handed_out = counts.frames, counts.titles
    merger.titles = _ledger(state, "titles", counts.tokens)
    merger.carried = Carried(*(state[f"carried.{name}"] for name in Carried._fields))
    merger.shown = state["scenes.picture"][0]
    budget, tracker = merger.budget, merger.scenes
    if budget.settings.per == "second":
        budget.origin, budget.second, budget.spent = origin, counts.second, counts.spent
    tracker.scene, tracker.labels = counts.scenes - 1, counts.labels
    parts = state["scenes.distribution"].split(state["scenes.length"].tolist())
    seen = map(Seen, parts, state["scenes.label"].tolist(), state["scenes.picture"])
    tracker.current, *tracker.over = seen
    tracker.returned = state.get("scenes.returned")
    return merger


def _ledger(state: Saved, name: str, length: int) -> Ledger:
    near, near_rows, rows = (state[f"{name}.{part}"] for part in ("names", "near", "rows"))
    if len(rows) > length:
        raise ValueError(f"expected {name}.rows of at most {length} tokens, got {len(rows)}")
    return Ledger.of(length, near, near_rows, rows)
