"""Merging: fewer tokens that say almost the same.

whole_video.py  merge(), of a whole video; stream.py MergeStream, of one that is still coming
merger.py       both: a window of frames at a time (window.py)
links.py        which earlier token each may join; contraction.py which links are joined
budget.py       how many tokens may stay; agreement.py which members a mean counts
scenes.py       where a semantic scene ends: tokens join only within one
settings.py     the arguments, checked once; checks.py what comes in
ledger.py       what is remembered of every token that came in, by its name
"""

from patchgate.merging.scenes import Scenes, scenes
from patchgate.merging.stream import MergeStream
from patchgate.merging.whole_video import merge

__all__ = ["MergeStream", "Scenes", "merge", "scenes"]
