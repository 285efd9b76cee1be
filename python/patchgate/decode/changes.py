"""The warning about a picture that changes in the middle of a video."""

from __future__ import annotations

from .planes import FrameFormat


def described_change(was: FrameFormat, now: FrameFormat, seconds: float) -> str:
    """Describes a change at ``seconds`` for the one warning of a video."""
    return (
        f"the picture changes at {seconds:.3f} s from {_described(was)} to {_described(now)}"
        f"{_recoloured(was, now)}; a new batch begins there, and at every further change"
    )


def _recoloured(was: FrameFormat, now: FrameFormat) -> str:
    if (was.space, was.range) == (now.space, now.range):
        return ""
    return ", with other colours: RGB made of its tokens uses the first matrix for all"


def _described(own: FrameFormat) -> str:
    turned = f" turned by {own.rotation}" if own.rotation else ""
    return f"{own.width}x{own.height} {own.pixels}{turned}"
