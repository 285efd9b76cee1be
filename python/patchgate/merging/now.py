"""The state of a merge stream between two calls."""

from typing import NamedTuple, Self

from patchgate.merging.checks import Before
from patchgate.merging.merger import Merger
from patchgate.merging.scenes import Head
from patchgate.merging.settings import MergeSettings
from patchgate.tokens import TokenChunk


class Now(NamedTuple):
    """The state of a merge stream. A call makes another one: this one is never changed."""

    settings: MergeSettings
    head: Head | None
    merger: Merger
    before: Before
    waiting: list[TokenChunk]  # chunks of frames that are not merged yet
    origin: float | None  # seconds: the first frame's time
    ended: bool = False

    @classmethod
    def fresh(cls, settings: MergeSettings, head: Head | None) -> Self:
        """Makes the state of a stream that got no frame yet."""
        return cls(settings, head, Merger(settings, head), Before(settings, "chunk"), [], None)
