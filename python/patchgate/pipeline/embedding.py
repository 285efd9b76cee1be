"""``embed``: one vector a frame. Letters: T frames (or tubelets), D features."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Unpack, get_args

import torch
from torch import Tensor

from patchgate._check import checked_choice
from patchgate._signature import spelled
from patchgate.decode import Video, open_video
from patchgate.encoders.gated.tower import GatedTower
from patchgate.encoders.run import leaving
from patchgate.encoders.run.pooling import Pool as OwnPool
from patchgate.encoders.tower import Tower
from patchgate.gate import Gate, GateSettings
from patchgate.gate.settings import GEOMETRY
from patchgate.pipeline.features import FrameVectors
from patchgate.pipeline.fitting import placed, tower_gate
from patchgate.pipeline.frames import token_chunks, until_used_up
from patchgate.pipeline.options import TokenizeKwargs, parted
from patchgate.pipeline.video import opened

Pool = Literal["auto", "cls", "pooled", "mean"]


class Embedding(NamedTuple):
    """One vector a frame: what ``embed`` returns."""

    features: Tensor  # [T, D], of the tower's dtype, on its device
    pts_seconds: Tensor  # [T] float64 on the CPU: when each frame (a tubelet's first) is shown


@spelled(GateSettings, open_video, leave_out=GEOMETRY)
def embed(
    video: Any,
    tower: GatedTower,
    pool: Pool = "auto",
    gate: Gate | None = None,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    device: str = "cpu",
    on_chunk: Callable[[Embedding], None] | None = None,
    tolerance: float | None = None,
    **options: Unpack[TokenizeKwargs],
) -> Embedding:
    """Turns every frame of a video into one vector, of which only the changed cells are computed.

    The frames take the way of ``tokenize``: the gate compares them as they are in the file, and
    only cells that changed become RGB. A vector is made of the states that the tower's own call,
    gated with the same tolerance, would show for that frame. A frame that computes nothing repeats
    the vector before it. Where a vector is made of CLS alone, the last layer is computed for CLS
    (and registers) only: nobody sees the cells that leave it.

    Args:
        video: a path, a file object, bytes, or a ``Video`` that is already open.
        tower: a tower made by ``gated``.
        pool: how a frame's states become a vector. "pooled" is the ``pooler_output`` of the tower
            (SigLIP: its attention head; CLIP: CLS after a layer norm; DINO: CLS; timm: the model's
            own output, with ``num_classes=0`` that before the classifier). "cls" is the first
            token's last state, "mean" the mean of the last states of all cells (Qwen-VL: of the
            merged ones, without deepstack). "auto" is the tower's own convention: the first of
            "pooled", "cls" and "mean" that it has.
        gate: its settings are used, with a new state. None: those of the tower, with the rules
            that are given here.
        fps: the number of frames per second to look at; None: every frame.
        start, end: seconds on the video's clock.
        device: "cpu", or "cuda" to decode on the GPU: frames never leave it.
        on_chunk: a function that is called with the vectors of every few frames as they are made.
        tolerance: as of ``gated``, in place of the tower's. None: the tower's; but where that is
            the default of ``gated``, 0.15, it is 0.1: a vector sees the errors of all cells at once
            (docs/towers.md, "One vector a frame", has the curve).
        options: the gate's rules and options of ``open_video``, as in ``tokenize``.

    Returns:
        ``Embedding``: ``features`` ``[T, D]``, of the tower's dtype, on its device, and
        ``pts_seconds`` ``[T]`` float64 on the CPU; T counts tubelets if the tower has two frames
        to a patch. The call needs memory for these and a few chunks of frames, whatever the
        video's length. It synchronises.

    Raises:
        FileNotFoundError, ValueError, TypeError: ``open_video`` or ``Gate`` raises; the tower is
            not gated, or does not have this pool; the gate does not fit the tower; there are rules
            and a gate; the tolerance is no number of at least 0, or the tower was gated with
            ``context="kept"``, which has none; there is no such option.
    """
    rules, open_options = parted("embed", options, gate)
    gate = tower_gate(tower, gate, None, rules)
    own = own_pool(tower, pool)
    with opened(video, fps, start, end, device, open_options) as source:
        gate, vectors = prepared_vectors(source, tower, gate, own, tolerance)
        parts = [Embedding(vectors.no_vectors(), torch.empty(0, dtype=torch.float64, device="cpu"))]
        for chunk in until_used_up(token_chunks(source, gate, features=vectors)):
            part = Embedding(vectors.vectors, chunk.pts_seconds)
            parts.append(part)
            if on_chunk is not None:
                on_chunk(part)
    return Embedding(*map(torch.cat, zip(*parts, strict=True)))


def own_pool(gated: GatedTower, pool: str) -> OwnPool:
    """Returns what a tower does for ``pool``.

    Raises:
        ValueError: there is no such pool, or the tower does not have it.
    """
    pool = checked_choice("pool", pool, get_args(Pool))
    tower: Tower = gated._tower
    has: list[OwnPool] = ["mean"]
    if tower.prefix:
        has.insert(0, "cls")
    if leaving.pools(tower):
        has.insert(0, "pooled")
    for own in has:
        if pool in ("auto", own):
            return own
    lacks = "no pooled output" if pool == "pooled" else "no CLS token"
    if pool == "pooled" and tower.ends_after is not None:
        lacks += " after a feature_layer"
    listed = " or ".join(f'"{own}"' for own in has)
    raise ValueError(
        f'pool: {type(gated.tower).__name__} has {lacks}; expected "auto" or {listed}, got {pool!r}'
    )


def prepared_vectors(
    source: Video, tower: GatedTower, gate: Gate, pool: OwnPool, tolerance: float | None
) -> tuple[Gate, FrameVectors]:
    """Makes the gate for a video's frames, and what makes vectors of them."""
    tower, own = placed(source, tower)
    return gate.fresh(size=own), FrameVectors(tower, own, pool, tolerance)
