"""Merging: fewer tokens that say almost the same.

whole_video.py  merge(), of a whole video; stream.py MergeStream, of one that is still coming
merger.py       both: a window of frames at a time (window.py)
cutting.py      where a video is cut into windows
links.py        which earlier token each may join; contraction.py which links are joined
budget.py       how many tokens may stay; agreement.py which members a mean counts
scenes.py       where a semantic scene ends: tokens join only within one
settings.py     the arguments, checked once; checks.py what comes in
ledger.py       what is remembered of every token that came in, by its name
now.py          what a merge stream remembers between two calls
state.py        a merge stream's state as a dict of tensors, and back
state_fields.py its names and shapes; state_check.py what it may be: the one place that knows
"""

from patchgate.merging.scenes import Scenes, scenes
from patchgate.merging.stream import MergeStream
from patchgate.merging.whole_video import merge

__all__ = ["MergeStream", "Scenes", "merge", "scenes"]
