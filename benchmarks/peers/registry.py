"""The list of peers, each with the one number that tunes it. See the package's docstring.

Letters: T frames, H W pixels, h w cells, N = h * w, D features.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from peers import (
    chance,
    dtd,
    eventful,
    evs,
    frame_fusion,
    grt,
    patch_stream,
    rlt,
    stc,
    tome,
    tome_layers,
    uniform,
    vidcom2,
)
from peers.choice import Choice
from peers.layers import Encoded

Looks = Literal["clock", "pixels", "features"]


class Clip(Protocol):
    """What a peer may look at; nothing is computed before it is asked for."""

    fps: int
    patch: int  # side of a cell in pixels

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(T, h, w)``."""
        ...

    @property
    def rgb(self) -> Tensor:
        """``[T, 3, H, W]``: uint8, or floats as the tower takes them."""
        ...

    @property
    def luma(self) -> Tensor:
        """``[T, H, W]`` uint8."""
        ...

    @property
    def features(self) -> Tensor:
        """``[T, N, D]``: what leaves the dense tower."""
        ...


@dataclass(frozen=True)
class Chooser:
    """A peer that says which cells are tokens."""

    name: str
    looks: Looks
    paper: str
    knob: str  # what tunes it
    own: float  # its authors' default
    sweep: tuple[float, ...]  # from many tokens to few
    measure: Callable[[Clip], Any]  # what its knob has no part in
    rule: Callable[[Any, float], Choice]

    def choose(self, clip: Clip, value: float | None = None) -> Choice:
        """At a value of its knob (None: its own); sources are ``[T, h, w]``."""
        return self.on(clip)(self.own if value is None else value)

    def on(self, clip: Clip) -> Callable[[float], Choice]:
        """``choose`` for many values on one clip: what all of them need is measured once."""
        measured = self.measure(clip)

        def at(value: float) -> Choice:
            found = self.rule(measured, value)
            return found._replace(source=found.source.view(clip.shape))

        return at


@dataclass(frozen=True)
class Encoder:
    """A peer that works inside a tower."""

    name: str
    paper: str
    own: float
    sweep: tuple[float, ...]
    encode: Callable[[Any, Tensor, float], Encoded]


def at_budget(peer: Chooser, clip: Clip, tokens: int, steps: int = 24) -> Choice | None:
    """The most tokens that are no more than so many, by bisection of the knob; None: none are.

    The knob is looked for between the ends of the sweep. A rule that keeps a frame whole has no
    choice of fewer than its tokens.
    """
    many, few, choose = peer.sweep[0], peer.sweep[-1], peer.on(clip)
    best = choose(many)
    if best.tokens <= tokens:
        return best
    best = choose(few)
    if best.tokens > tokens:
        return None
    for _ in range(steps):
        middle = (many + few) / 2
        found = choose(middle)
        if found.tokens > tokens:
            many = middle
        else:
            few = middle
            best = found if found.tokens >= best.tokens else best
        if best.tokens == tokens:
            break
    return best


_SHARES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.125, 0.09, 0.06, 0.04, 0.02, 0.01, 0.001)


def _doubling(least: float, most: float) -> tuple[float, ...]:
    """By factors of the square root of 2."""
    values = [least]
    while values[-1] < most:
        values.append(round(values[-1] * 2**0.5, 6))
    return tuple(values)


def _itself(clip: Clip) -> Clip:
    return clip


def _cut(measure: grt.Measure) -> Callable[[Clip], grt.Cut]:
    return lambda clip: grt.cut(clip.rgb, clip.patch, measure)


def _grt(measure: grt.Measure) -> Callable[[grt.Cut, float], Choice]:
    return lambda known, tau: Choice.of(grt.gate(known, tau, measure).keep)


def _grt_at_its_own(clip: Clip) -> grt.Gated:
    return grt.gate(_cut("ssim")(clip), grt.TAU["ssim"], "ssim")


CHOOSERS: dict[str, Chooser] = {
    peer.name: peer
    for peer in (
        Chooser("uniform", "clock", "what video language models do", "frames a second", 2,
                (30, 15, 10, 5, 4, 3, 2, 1), _itself,
                lambda clip, rate: uniform.choose(clip.shape, clip.fps, min(int(rate), clip.fps))),
        Chooser("random", "clock", "a control", "share", 0.25, _SHARES, _itself,
                lambda clip, share: chance.choose(clip.shape, share)),
        Chooser("RLT", "pixels", "arXiv 2411.05222", "tau", rlt.TAU, (-1.0, *_doubling(0.005, 8)),
                lambda clip: rlt.differences(clip.rgb, clip.patch), rlt.choose),
        Chooser("GRT gate, SSIM", "pixels", "arXiv 2509.14199", "tau", grt.TAU["ssim"],
                (-1.0, *_doubling(0.0002, 2.1)), _cut("ssim"), _grt("ssim")),
        Chooser("GRT gate, L2", "pixels", "arXiv 2509.14199", "tau", grt.TAU["l2"],
                (-1.0, *_doubling(0.05, 120)), _cut("l2"), _grt("l2")),
        Chooser("GRT scene merge", "pixels", "arXiv 2509.14199", "share", grt.PACKED_SHARE, _SHARES,
                _grt_at_its_own, grt.packed),
        Chooser("DTD, pixels", "pixels", "arXiv 2504.17343", "tau", dtd.PIXEL_TAU,
                (0.0, *_doubling(0.002, 1.1)),
                lambda clip: dtd.differences(clip.rgb, clip.patch), dtd.by_pixels),
        Chooser("codec-patch-stream", "pixels", "github.com/mvp-ai-lab/codec-patch-stream", "share",
                patch_stream.SHARE, _SHARES,
                lambda clip: patch_stream.scores(clip.luma, clip.patch), patch_stream.choose),
        Chooser("EVS", "features", "arXiv 2510.14624", "share", evs.SHARE, _SHARES,
                lambda clip: evs.dissimilarities(clip.features), evs.choose),
        Chooser("DTD, features", "features", "arXiv 2504.17343", "tau", dtd.FEATURE_TAU,
                (1.1, 0.999, 0.995, 0.99, 0.98, 0.96, 0.93, 0.9, 0.8, 0.7, 0.6, 0.5, 0.3, -1.1),
                lambda clip: dtd.likenesses(clip.features), dtd.by_features),
        Chooser("VidCom2", "features", "arXiv 2505.14454", "share", vidcom2.SHARE, (2.0, *_SHARES),
                lambda clip: vidcom2.likenesses(clip.features), vidcom2.choose),
        Chooser("FrameFusion", "features", "arXiv 2501.01986", "share", frame_fusion.SHARE, _SHARES,
                lambda clip: dtd.likenesses(clip.features),
                lambda alike, share: frame_fusion.choose(alike, share, least=-1)),
        Chooser("ToMe", "features", "arXiv 2210.09461", "share", tome.SHARE, _SHARES,
                lambda clip: clip.features, tome.choose),
    )
}  # fmt: skip

ENCODERS: dict[str, Encoder] = {
    peer.name: peer
    for peer in (
        Encoder("ToMe in the tower", "arXiv 2210.09461", 0.4, (0.8, 0.6, 0.4, 0.2, 0.1),
                tome_layers.encode),
        Encoder("Eventful", "arXiv 2308.13494", eventful.SHARE, (0.7, 0.5, 0.25, 0.125, 0.06),
                eventful.encode),
        Encoder("STC", "arXiv 2512.00891", stc.SHARE, (0.75, 0.5, 0.25, 0.1), stc.encode),
    )
}  # fmt: skip
