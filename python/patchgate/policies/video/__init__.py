"""The parts of policies that read videos.

container.py    times and key frames, read without decoding
wanted.py       decodes chosen frames only
statistics.py   the gate's statistics of every frame
scorer.py       the relevance of frames to a query
capped_gate.py  a gate that keeps at most a plan's ratio of each frame
looker.py       Looker: looks at a video again and tokenizes no frame twice
kinds.py        what the gate makes of a plan's frames, without their tokens
joined.py       joins the tokens of several looks in one container
"""

from patchgate.policies.video.capped_gate import CappedGate
from patchgate.policies.video.container import container_frames
from patchgate.policies.video.looker import Looker
from patchgate.policies.video.scorer import DualEncoder
from patchgate.policies.video.statistics import tokenize_with_statistics

__all__ = ["CappedGate", "DualEncoder", "Looker", "container_frames", "tokenize_with_statistics"]
