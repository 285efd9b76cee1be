"""Formulas on a screen: written term by term, edited in place, pushed, scrolled, pointed at.

Set by matplotlib's mathtext. A change comes every few frames, as it does on a screen.

Letters: T frames, H W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # [H, W], black on white

HOLD, CHANGES = 5, 4  # frames of a picture, and pictures of a clip
LINE, CELL = 64, 16  # pixels: height of a line of the page, side of a cell
STEP = 8  # pixels that the page scrolls by in a frame: as far as the gate looks
LEFT, BASELINE = 8, 40  # pixels: where a formula begins in its line
_FACE, _DPI = FontProperties(size=20, math_fontfamily="cm"), 70
_PALE = 208  # of the pointer
_PARSER: MathTextParser = MathTextParser("agg")

_HEADS = ("f(x)=", "y=", r"\alpha=", r"\Phi(t)=", "g_{n}=", r"\Delta E=", r"\lambda_{k}=")
_TERMS = (
    r"\int_{0}^{1}g(t)dt", r"\sum_{n=1}^{N}a_{n}", r"\frac{a+b}{2}", r"\sqrt{x+1}", "mc^{2}",
    r"\pi r^{2}", "a_{n}x^{n}", r"\sin\theta", r"\cos\theta", r"\beta(x)", "V(x)", r"\omega t",
    r"\frac{p^{2}}{2m}", "x_{1}x_{2}", r"\gamma(k)", "c_{0}",
)  # fmt: skip
_DIGITS = "23456789"


@dataclass(frozen=True)
class Clip:
    """A clip, and what stands in each frame."""

    kind: str
    seed: int
    frames: Picture  # [T, H, W]
    said: tuple[str | None, ...]  # LaTeX of each frame; None: between two


def set_formula(latex: str) -> tuple[Picture, int]:
    """A formula in ink ``[H, W]``, 255 where it is full, and its pixels under the baseline."""
    found = _PARSER.parse(f"${latex}$", dpi=_DPI, prop=_FACE)
    return np.asarray(found.image, dtype=np.uint8), round(found.depth)


def line(latex: str, width: int, left: int = LEFT) -> Picture:
    """A formula on a line of the page, ``[LINE, width]``.

    Raises:
        ValueError: it does not fit.
    """
    ink, depth = set_formula(latex)
    (high, wide), top = ink.shape, BASELINE + depth - ink.shape[0]
    if top < 0 or top + high > LINE or left + wide > width:
        raise ValueError(f"{latex}: {high} x {wide} pixels do not fit on {LINE} x {width}")
    page = np.full((LINE, width), 255, np.uint8)
    page[top : top + high, left : left + wide] = 255 - ink
    return page


def width_of(*formulas: str) -> int:
    """Pixels of a line that holds any of them, in whole pairs of cells as the reader has them."""
    widest = max(set_formula(latex)[0].shape[1] for latex in formulas)
    return -(-(LEFT + widest + LEFT) // (2 * CELL)) * 2 * CELL


def _terms(rng: np.random.Generator, count: int) -> list[str]:
    terms = [_TERMS[i] for i in rng.choice(len(_TERMS), count, replace=False)]
    signs = rng.choice(["+", "-"], count).tolist()
    return [terms[0], *(sign + term for sign, term in zip(signs[1:], terms[1:], strict=True))]


def _head(rng: np.random.Generator) -> str:
    return _HEADS[rng.integers(len(_HEADS))]


def _held(kind: str, seed: int, states: list[str], pages: list[Picture]) -> Clip:
    """Each picture for so many frames."""
    frames = np.repeat(np.stack(pages), HOLD, axis=0)
    return Clip(kind, seed, frames, tuple(state for state in states for _ in range(HOLD)))


def written(rng: np.random.Generator, seed: int) -> Clip:
    """One term after the other; two stand there from the start."""
    head, terms = _head(rng), _terms(rng, CHANGES + 1)
    states = [head + "".join(terms[: k + 2]) for k in range(CHANGES)]
    width = width_of(*states)
    return _held("written", seed, states, [line(state, width) for state in states])


def edited(rng: np.random.Generator, seed: int) -> Clip:
    """A factor in front of one term is another digit each time."""
    head, terms = _head(rng), _terms(rng, 3)
    at, digits = rng.integers(1, 3), rng.choice(list(_DIGITS), CHANGES, replace=False).tolist()
    states = [
        head + "".join(t[0] + d + t[1:] if i == at else t for i, t in enumerate(terms))
        for d in digits
    ]
    width = width_of(*states)
    return _held("edited", seed, states, [line(state, width) for state in states])


def pushed(rng: np.random.Generator, seed: int) -> Clip:
    """Terms come in front, and push what stands there to the right."""
    terms = _terms(rng, 1 + CHANGES)
    states = ["".join(terms[k:]).lstrip("+-") for k in reversed(range(CHANGES))]
    width = width_of(*states)
    return _held("pushed", seed, states, [line(state, width) for state in states])


def scrolled(rng: np.random.Generator, seed: int) -> Clip:
    """A page of one formula a line goes by and rests at each."""
    states = [_head(rng) + "".join(_terms(rng, 2)) for _ in range(CHANGES)]
    width = width_of(*states)
    page = np.concatenate([line(state, width) for state in states])  # [CHANGES * LINE, W]
    tops, said = [], []
    for k, state in enumerate(states):
        between = range(0 if k == 0 else (k - 1) * LINE + STEP, k * LINE, STEP)
        tops += [*between, *[k * LINE] * HOLD]
        said += [*[None] * len(between), *[state] * HOLD]
    return Clip("scrolled", seed, np.stack([page[y : y + LINE] for y in tops]), tuple(said))


def pointed(rng: np.random.Generator, seed: int) -> Clip:
    """Nothing changes but a pale pointer, which goes along above and below the formula."""
    state = _head(rng) + "".join(_terms(rng, 3))
    page = line(state, width_of(state))
    frames = []
    for t in range(HOLD * CHANGES):
        frame = page.copy()
        top, left = (2, 8 + 12 * t) if t % 8 < 4 else (LINE - 6, 8 + 12 * t)
        spot = frame[top : top + 4, left % (page.shape[1] - 8) :][:, :4]
        np.minimum(spot, _PALE, out=spot)
        frames.append(frame)
    return Clip("pointed", seed, np.stack(frames), (state,) * len(frames))


SCENES: dict[str, Callable[[np.random.Generator, int], Clip]] = {
    "written": written,
    "edited": edited,
    "pushed": pushed,
    "scrolled": scrolled,
    "pointed": pointed,
}


def clip(kind: str, seed: int) -> Clip:
    """A scene; the same seed gives the same clip."""
    rng = np.random.default_rng(np.random.SeedSequence([*kind.encode(), seed]))
    return SCENES[kind](rng, seed)
