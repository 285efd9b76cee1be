"""One row of the formula benchmark, and what is counted of a string."""

from collections.abc import Sequence
from dataclasses import dataclass

from reading.formula.latex import plain


@dataclass(frozen=True)
class Read:
    """What a rule gives of a clip. Of frames where something stands, those whose string is ..."""

    rule: str
    scene: str
    asked: int  # all of them
    same: int  # the dense encoder's
    dense_right: int  # the truth, with the dense encoder
    right: int  # the truth, with both
    cosine: float  # to the dense features, mean over frames and tokens
    blocks: tuple[float, float]  # operations of the transformer's layers, and of the dense one's
    whole: tuple[float, float]  # with the convolutions


def marks(
    truth: Sequence[str], dense: Sequence[str], said: Sequence[str]
) -> tuple[int, int, int, int]:
    """Numbers of frames: asked, same as dense, right when dense, right of these: see ``Read``."""
    known = [s == d for t, d, s in zip(truth, dense, said, strict=True) if d == plain(t)]
    same = sum(d == s for d, s in zip(dense, said, strict=True))
    return len(truth), same, len(known), sum(known)
