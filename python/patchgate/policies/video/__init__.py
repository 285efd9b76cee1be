"""Policies and the videos that they choose from.

container.py    times and key frames, with no decoding; wanted.py decodes chosen frames only
statistics.py   what the gate knows of every frame, by the way
scorer.py       relevance to a query
capped_gate.py  a plan's ratio as a cap on the gate
looker.py       looks again and does nothing twice; joined.py several looks in one container
"""

from patchgate.policies.video.capped_gate import CappedGate
from patchgate.policies.video.container import container_frames
from patchgate.policies.video.looker import Looker
from patchgate.policies.video.scorer import DualEncoder
from patchgate.policies.video.statistics import tokenize_with_statistics

__all__ = ["CappedGate", "DualEncoder", "Looker", "container_frames", "tokenize_with_statistics"]
