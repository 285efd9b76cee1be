"""Every method from decoded frames in memory to features, its stages timed.

All of them convert, resize and normalise by the same op (``gather``), attend by the same kernels
and run the same tower; a peer's kept patches are packed as ours are. Ours goes on with a stream, so
many frames at a time; peers are given the whole clip at once.

Letters: T frames, h w cells, N = h * w, K kept cells, D features.
"""

from typing import Any

import torch
from peers import CHOOSERS, ENCODERS, Choice, uniform
from torch import Tensor

from patchgate import FrameBatch
from patchgate.encoders.patch_grid import patch_rows
from patchgate.gather import gather
from proof.frames import picked
from proof.ours import SHARE, ours
from proof.towers import Sized
from proof.way import Done, Timer, Way

BATCH = 16  # frames of the dense tower at a time


def dense(tower: Sized) -> Way:
    def way(batch: FrameBatch, stage: Timer) -> Done:
        with stage("gather"):
            pixels = prepared(tower, batch)
        features = encoded(tower, pixels, stage).flatten(0, 1)
        return Done(len(features), tower.frame_flops * len(batch), features)

    return way


def sampled(tower: Sized, rate: int) -> Way:
    """Whole frames at a rate."""

    def way(batch: FrameBatch, stage: Timer) -> Done:
        fps = round(1 / float(batch.duration_seconds.mean()))
        chosen = torch.tensor(uniform.sampled_frames(len(batch), fps, rate, 0, 1))
        return dense(tower)(picked(batch, chosen), stage)

    return way


def before(tower: Sized, peer: str, value: float | None = None, **settings: Any) -> Way:
    """A peer that looks at pixels, and its kept patches through the packed tower."""

    def way(batch: FrameBatch, stage: Timer) -> Done:
        gated = tower.gated(**settings)
        with stage("gather"):
            pixels = prepared(tower, batch)
        with stage("gate"):
            luma = batch.planes[0] if CHOOSERS[peer].looks == "pixels" else None
            choice = CHOOSERS[peer].choose(Shown(tower, pixels, luma), value)
        with stage("compact"):
            index, cu_seqlens = packed(choice.keep)
        with stage("encode"):
            rows = patch_rows(pixels, tower.patch, index)
            cell = index % choice.source[0].numel()
            features = gated.encode(rows, cell, cu_seqlens, choice.token_ids)
        return Done(len(index), gated.last_work.gated_flops, features)

    return way


def after(tower: Sized, peer: str, value: float | None = None) -> Way:
    """A peer that looks at the dense tower's features."""

    def way(batch: FrameBatch, stage: Timer) -> Done:
        with stage("gather"):
            pixels = prepared(tower, batch)
        features = encoded(tower, pixels, stage)
        with stage("merge"):
            choice = CHOOSERS[peer].choose(Shown(tower, pixels, None, features), value)
            kept = choice.shown(features).flatten(0, 1)[choice.keep.flatten()]
        return Done(len(kept), tower.frame_flops * len(batch), kept)

    return way


def inside(tower: Sized, peer: str) -> Way:
    """A peer that works in the tower's layers."""

    def way(batch: FrameBatch, stage: Timer) -> Done:
        with stage("gather"):
            pixels = prepared(tower, batch)
        with stage("encode"):
            found = ENCODERS[peer].encode(tower.model, pixels, ENCODERS[peer].own)
        kept = found.features.flatten(0, 1)[found.choice.keep.flatten()]
        return Done(len(kept), found.flops, kept)

    return way


def released_grt(tower: Sized) -> Way:
    """As its authors released it: the gate saves patch projections, and every token is computed."""

    def way(batch: FrameBatch, stage: Timer) -> Done:
        with stage("gather"):
            pixels = prepared(tower, batch)
        with stage("gate"):
            choice: Choice = CHOOSERS["GRT gate, SSIM"].choose(Shown(tower, pixels, None))
        features = encoded(tower, pixels, stage).flatten(0, 1)
        saved = 1 - choice.tokens / len(features)
        weight = tower.model.embeddings.patch_embedding.weight
        return Done(
            len(features),
            tower.frame_flops * len(batch) - saved * 2 * weight.numel() * len(features),
            features,
        )

    return way


def packed(keep: Tensor) -> tuple[Tensor, Tensor]:
    """Kept cells by number, ``[K]``, and where each frame's begin, ``[T + 1]``."""
    lengths = keep.flatten(1).sum(1)
    return keep.flatten().nonzero().flatten(), torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


def prepared(tower: Sized, batch: FrameBatch) -> Tensor:
    """Pixel values of whole frames, ``[T, 3, H, W]``."""
    h, w = tower.cells
    return tower.pictures(gather(batch, torch.arange(len(batch) * h * w), tower.spec))


def encoded(tower: Sized, pixels: Tensor, stage: Timer) -> Tensor:
    """By the dense tower, ``[T, N, D]``."""
    with stage("encode"):
        return torch.cat([tower.model(some).last_hidden_state for some in pixels.split(BATCH)])


class Shown:
    """What a peer may look at: a ``peers.Clip``."""

    fps = 25  # no peer that is timed asks

    def __init__(
        self, tower: Sized, pixels: Tensor, luma: Tensor | None, features: Tensor | None = None
    ) -> None:
        self.patch, self.rgb = tower.patch, pixels
        self.shape = (len(pixels), *tower.cells)
        self._luma, self._features = luma, features

    @property
    def luma(self) -> Tensor:
        """Luma at the size that the tower sees, ``[T, H, W]`` uint8."""
        assert self._luma is not None
        resized = torch.nn.functional.interpolate(
            self._luma[:, None].float(), size=self.rgb.shape[2:], mode="area"
        )
        return resized[:, 0].to(torch.uint8)

    @property
    def features(self) -> Tensor:
        """``[T, N, D]``."""
        assert self._features is not None
        return self._features


def main_of(tower: Sized) -> dict[str, Way]:
    """What is claimed something of."""
    return {
        "dense": dense(tower),
        "patchgate, kept cells only": ours(tower, context="kept"),
        "patchgate, residual": ours(tower, tolerance=float("inf")),
        "patchgate, merged": ours(tower, SHARE, tolerance=float("inf")),
        "RLT": before(tower, "RLT", context="kept"),
        "RLT, residual": before(tower, "RLT", tolerance=float("inf")),
    }


def all_of(tower: Sized) -> dict[str, Way]:
    """Every row of the table: the main ones, and all peers."""
    found = main_of(tower)
    for peer in ("GRT gate, SSIM", "GRT gate, L2", "DTD, pixels", "codec-patch-stream", "random"):
        found[peer] = before(tower, peer, context="kept")
    found["GRT as released"] = released_grt(tower)
    found |= {name: inside(tower, name) for name in ENCODERS}
    found |= {name: after(tower, name) for name, peer in CHOOSERS.items()
              if peer.looks == "features"}  # fmt: skip
    return found | {f"uniform, {rate} fps": sampled(tower, rate) for rate in (1, 2)}
