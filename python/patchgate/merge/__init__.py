"""Merging: fewer tokens that say almost the same."""

from patchgate.merge.scenes import Scenes, scenes
from patchgate.merge.stream import MergeStream
from patchgate.merge.whole import merge

__all__ = ["MergeStream", "Scenes", "merge", "scenes"]
