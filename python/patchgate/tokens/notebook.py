"""What a notebook shows of tokens: a few facts, and the kept share over time as a small plot.

Letters: T frames (or tubelets), h w cells, K tokens, D features, B bins of the time axis.
"""

import torch
from torch import Tensor

from patchgate.gate import CHANGED, MOVED

# Okabe and Ito's palette: it can be distinguished with any colour vision, and in grey by lightness.
CHANGED_COLOUR = (213, 94, 0)  # vermilion
MOVED_COLOUR = (86, 180, 233)  # sky blue
RETURNED_COLOUR = (0, 158, 115)  # bluish green

_BINS, _HEIGHT = 240, 48  # of the plot, in its own units


def html_of(features: Tensor, kind: Tensor, pts_seconds: Tensor, duration_seconds: Tensor) -> str:
    """Writes a table of facts and a plot as HTML that needs no script and no other file.

    Args:
        features: ``[K, D]``.
        kind: ``[T, h, w]`` uint8.
        pts_seconds, duration_seconds: ``[T]`` float64.
    """
    (t, h, w), (k, d) = kind.shape, features.shape
    dtype = str(features.dtype).removeprefix("torch.")
    facts = {
        "tokens": f"{k:,} of {d:,} features, {dtype} on {features.device}",
        "frames": f"{t:,} of {h} x {w} cells",
    }
    plot = ""
    if t:
        changed, moved = (_shares(kind, each) for each in (CHANGED, MOVED))  # [T] each
        last = float(pts_seconds[-1] + duration_seconds[-1])
        keys = int((changed == 1).sum())
        facts |= {
            "time": f"{float(pts_seconds[0]):.2f} to {last:.2f} s",
            "kept": f"{float(changed.mean()):.2%} of the cells; {float(moved.mean()):.2%} moved",
            "key frames": f"{keys:,}",
        }
        plot = share_plot(changed, moved)
    rows = "".join(
        f'<tr><th style="text-align:left">{name}</th><td style="text-align:left">{text}</td></tr>'
        for name, text in facts.items()
    )
    return f"<div><b>VideoTokens</b><table>{rows}</table>{plot}</div>"


def _shares(kind: Tensor, which: int) -> Tensor:
    """Returns the share of each frame's cells that are of a kind, ``[T]`` float64."""
    return (kind == which).flatten(1).double().mean(1)


def share_plot(changed: Tensor, moved: Tensor) -> str:
    """Draws the shares of changed and moved cells ``[T]`` over the frames, as SVG."""
    bars = []
    for shares, below, colour in (
        (moved, changed, MOVED_COLOUR),
        (changed, torch.zeros_like(changed), CHANGED_COLOUR),
    ):
        red, green, blue = colour
        binned, under = _binned(shares), _binned(below)  # [B] each
        steps = "".join(
            f"M{i} {_HEIGHT * (1 - low):.2f}v{-_HEIGHT * high:.2f}h1v{_HEIGHT * high:.2f}z"
            for i, (high, low) in enumerate(zip(binned, under, strict=True))
            if high
        )
        bars.append(f'<path fill="rgb({red},{green},{blue})" d="{steps}"/>')
    width = len(_binned(changed))
    return (
        f'<svg viewBox="0 0 {width} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        'style="width:100%;max-width:40em;height:4em;background:#8882" '
        'aria-label="share of changed and moved cells over the frames">'
        f"<title>share of cells over the frames: changed below, moved above</title>{''.join(bars)}"
        "</svg>"
    )


def _binned(shares: Tensor) -> list[float]:
    """Returns the means of equally many frames each, at most 240 of them."""
    step = -(-len(shares) // _BINS)
    return [float(part.mean()) for part in shares.split(step)]
