"""What a merge stream remembers between two calls."""

from typing import NamedTuple, Self

from patchgate.merging.checks import Before
from patchgate.merging.merger import Merger
from patchgate.merging.scenes import Head
from patchgate.merging.settings import MergeSettings
from patchgate.tokens import TokenChunk


class Now(NamedTuple):
    """What a merge stream remembers. A call makes another: nothing of it is written to."""

    settings: MergeSettings
    head: Head | None
    merger: Merger
    before: Before
    waiting: list[TokenChunk]  # each of some frames
    origin: float | None  # seconds: the first frame's time
    ended: bool = False

    @classmethod
    def fresh(cls, settings: MergeSettings, head: Head | None) -> Self:
        """What a stream remembers that nothing came to yet."""
        return cls(settings, head, Merger(settings, head), Before(settings, "chunk"), [], None)
