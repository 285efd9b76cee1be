"""What is said where the picture changes in the middle of a video."""

from __future__ import annotations

from .planes import Look


def told_change(was: Look, now: Look, seconds: float) -> str:
    """For the one warning of a video."""
    return (
        f"the picture changes at {seconds:.3f} s from {_look(was)} to {_look(now)}"
        f"{_recoloured(was, now)}; a new batch begins there, and at every further change"
    )


def _recoloured(was: Look, now: Look) -> str:
    if (was.space, was.range) == (now.space, now.range):
        return ""
    return ", with other colours: RGB made of its tokens takes the first matrix for all"


def _look(look: Look) -> str:
    turned = f" turned by {look.rotation}" if look.rotation else ""
    return f"{look.width}x{look.height} {look.pixels}{turned}"
