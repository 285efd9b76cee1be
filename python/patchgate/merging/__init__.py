"""Merging turns tokens that are alike into one, until a budget is met.

whole_video.py  merge(), for a whole video; stream.py MergeStream, for one that is still coming
merger.py       the work of both: merges one window of frames after the other (window.py)
cutting.py      where a video is cut into windows
links.py        which earlier token each token may join
contraction.py  which of these links are joined, to meet the budget
budget.py       how many tokens may stay
agreement.py    which members of a group count for its mean
scenes.py       where a semantic scene ends: tokens join only within one
settings.py     the arguments, checked once; checks.py checks the chunks that come in
ledger.py       keeps numbers of every token that came in
now.py          the state of a merge stream between two calls
state.py        this state as a dict of tensors, and back; state_fields.py its names and shapes
state_check.py  finds what is wrong in such a state
"""

from patchgate.merging.scenes import Scenes, scenes
from patchgate.merging.stream import MergeStream
from patchgate.merging.whole_video import merge

__all__ = ["MergeStream", "Scenes", "merge", "scenes"]
