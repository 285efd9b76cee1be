"""Converts a tokenizer's state to a flat dict of tensors, and back, with every part checked.

Letters: T frames, f frames of a tubelet.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from patchgate._tensors import doubles
from patchgate.colour import FACTORS, Matrix
from patchgate.decode import Colour, FrameBatch
from patchgate.encoders.gated import stream_file, stream_state
from patchgate.encoders.gated.tower import GatedTower
from patchgate.encoders.run.session import Session
from patchgate.gate import Gate
from patchgate.gate.saved import (
    DIGEST,
    Saved,
    check_digest,
    check_tensors,
    letters,
    sealed,
    text_of,
)
from patchgate.pipeline.chunker import Chunker
from patchgate.pipeline.features import PixelFeatures, TowerFeatures
from patchgate.pipeline.given import Clock

FORMAT = "patchgate.Tokenizer/2"  # 2: with the light that cells have gone through

_OWNER, _ABOUT, _CLOCK = stream_state.BELONGS_TO, "about", "clock"
_HELD = ("y", "cb", "cr", "pts_seconds", "duration_seconds")
_MOST = 1 << 53


class Part(NamedTuple):
    """The state of a tokenizer."""

    clock: Clock
    chunker: Chunker | None
    held: FrameBatch | None  # frames of an incomplete tubelet
    matrix: Matrix


def state_of(part: Part, tower: GatedTower | None, gate: Gate, fps: float | None) -> Saved:
    """Returns copies of the state, what it belongs to, and a digest. Synchronises.

    Args:
        tower, gate, fps: the tokenizer's.
    """
    found: Saved = {}
    colour = None
    if part.chunker is not None:
        found |= _stages(part.chunker, tower)
        if part.held is not None:
            times = part.held.pts_seconds, part.held.duration_seconds
            held = zip(_HELD, (*part.held.planes, *times), strict=True)
            found |= {f"held.{name}": tensor for name, tensor in held}
            colour = asdict(part.held.colour)
    about = {"matrix": part.matrix, "held": colour}
    found[_CLOCK] = doubles(part.clock)
    texts = {_OWNER: _owner(tower, gate, fps), _ABOUT: about}
    return sealed({**found, **{name: letters(json.dumps(text)) for name, text in texts.items()}})


def _stages(chunker: Chunker, tower: GatedTower | None) -> Saved:
    """Returns the tensors of the gate, and what the tower remembers."""
    if tower is None:
        return {f"gate.{name}": tensor for name, tensor in chunker.gate.state_dict().items()}
    own = cast("TowerFeatures", chunker.features).session
    both = Session(own.fidelity, chunker.gate)
    both.memory, both.waiting = own.memory, own.waiting
    return stream_state.tables(both)


def _owner(tower: GatedTower | None, gate: Gate, fps: float | None) -> dict[str, str]:
    """Describes what a state belongs to."""
    own: dict[str, str] = {}
    if tower is not None:
        own = stream_file.describe(
            tower.tower, tower._tower, tower.pixel_spec, gate.settings, tower.fidelity
        )
        own["stream"] = own["format"]
    own |= {"gate": json.dumps(asdict(gate.settings)), "fps": json.dumps(fps)}
    return {"tower": "None", **own, "format": FORMAT}


def loaded(
    state: Mapping[str, Tensor], tower: GatedTower | None, gate: Gate, fps: float | None
) -> Part:
    """Makes the state of a tokenizer from what ``state_of`` returned.

    Raises:
        ValueError: it is no such state, or a damaged one, or one of another tower, gate or rate.
    """
    try:
        check_tensors(state, "state_dict")
        left = {name: tensor.detach().clone() for name, tensor in state.items() if name != DIGEST}
        owner = _taken(left, _OWNER)
        stream_state.check_owner(owner, _owner(tower, gate, fps))
        about, clock = _taken(left, _ABOUT), _clock(left)
        held = _held(left, about, gate)
        chunker = _chunker(left, tower, gate)
        part = Part(clock, chunker, held, _matrix(about))
        _check_clock(part, fps)
        check_digest(state)
    except KeyError as error:
        raise ValueError(f"state: {error} is missing") from None
    except ValueError as error:
        raise ValueError(f"state: {str(error).removeprefix('state: ')}") from error
    return part


def _taken(left: Saved, name: str) -> dict[str, Any]:
    """Takes a text out of a state: a JSON object."""
    text = text_of(name, left.pop(name))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"expected {name} to hold a JSON object, got {text[:80]!r}")
    return found


def _clock(left: Saved) -> Clock:
    given = left.pop(_CLOCK)
    if given.dtype != torch.float64 or list(given.shape) != [2]:
        raise ValueError(f"expected {_CLOCK} [2] of float64, got {list(given.shape)} {given.dtype}")
    counted, last = given.tolist()
    if not 0 <= counted <= _MOST or counted != int(counted) or not last < math.inf:
        raise ValueError(f"expected {_CLOCK} of a count and a time, got {given.tolist()}")
    return Clock(int(counted), last)


def _held(left: Saved, about: dict[str, Any], gate: Gate) -> FrameBatch | None:
    """Takes the frames of an incomplete tubelet out of a state."""
    names = [f"held.{name}" for name in _HELD]
    found, colour = [name for name in names if name in left], about.get("held")
    if not found and colour is None:
        return None
    if not isinstance(colour, dict):
        raise ValueError(f"expected the colour of held frames in {_ABOUT}, got {colour!r}")
    y, cb, cr, pts, duration = (left.pop(name) for name in names)
    try:
        batch = FrameBatch((y, cb, cr), pts.cpu(), duration.cpu(), Colour(**colour))
    except (TypeError, ValueError) as error:
        raise ValueError(f"held: {error}") from error
    most = gate.settings.temporal_patch - 1
    if not 1 <= len(batch) <= most or not batch.height or not batch.width:
        raise ValueError(f"held: expected at most {most} frame(s) with pixels, got {batch}")
    return batch


def _chunker(left: Saved, tower: GatedTower | None, gate: Gate) -> Chunker | None:
    """Makes the stages from the tensors that are left; None: there are none."""
    own = {name[5:]: tensor for name, tensor in left.items() if name.startswith("gate.")}
    if not own:
        if left:
            raise ValueError(f"it has tensors without a gate: {', '.join(sorted(left))}")
        return None
    gated = gate.fresh()
    gated.load_state_dict(own)  # on the device of the frames, which may not be the tower's
    picture, clock = own["picture"], own["clock"].tolist()
    size = (int(picture.shape[-2]), int(picture.shape[-1]))
    if gate.size not in (None, size) or len(clock) != 1 or "pending" in own:
        raise ValueError(
            f"expected a gate of one stream of {gate.size} pixels that waits for nothing, got "
            f"{len(clock)} of {size}"
        )
    gated, frames = gate.fresh(size=size), clock[0][0]
    gated.load_state_dict(own)
    if tower is None:
        if extra := left.keys() - {f"gate.{name}" for name in own}:
            raise ValueError(f"it has unknown tensors: {', '.join(sorted(extra))}")
        if picture.shape[2] != (3 if gate.settings.chroma else 1):
            raise ValueError(f"expected a picture of Y, Cb and Cr, got {list(picture.shape)}")
        return Chunker(gated, PixelFeatures(gate.settings, size, picture.device), frames=frames)
    session = Session(tower.fidelity, gate.fresh(size=size))
    session.memory = stream_state.remembered(left, session, tower._tower, pooled=False)
    session.gate = None
    return Chunker(gated, TowerFeatures(tower, size, session), frames=frames)


def _matrix(about: dict[str, Any]) -> Matrix:
    if about.get("matrix") not in FACTORS:
        raise ValueError(f"expected matrix of {', '.join(FACTORS)}, got {about.get('matrix')!r}")
    return cast("Matrix", about["matrix"])


def _check_clock(part: Part, fps: float | None) -> None:
    """Checks the clock against the frames that there were."""
    clock, held = part.clock, part.held
    seen = part.chunker is not None or held is not None
    if seen != math.isfinite(clock.last) or (fps is None and clock.counted):
        raise ValueError(f"expected a {_CLOCK} of the frames that there were, got {clock}")
    if held is not None and not (
        bool(held.pts_seconds.isfinite().all() and held.duration_seconds.isfinite().all())
        and bool((held.duration_seconds >= 0).all())
        and float(held.pts_seconds[-1]) == clock.last
    ):
        raise ValueError(f"held: expected its times to end at {clock.last:g} s, got {held}")
