"""Chooses which frames to look at within a budget of tokens: ``policy(frames, budget) -> Plan``.

A policy is made of three small parts (POOL, PICK and SPEND) and sees no pixels:

pool.py     chooses candidates                 grids.py    counts the tokens of a frame
pick.py     chooses among them by a score      budget.py   how many frames and tokens may be used
diverse.py  chooses among them by features     frames.py   candidates and their statistics
spend.py    in what detail each is shown       plan.py     frames, their detail and their cost
again.py    windows, for a second look         labels.py   times as text for a language model

named/  POLICIES: the systems of the literature, each composed of these parts
video/  the parts that read videos: times and key frames, the gate's statistics, scores, Looker

docs/policies.md explains each policy.
"""

from patchgate.policies import diverse, labels, pick, pool, spend
from patchgate.policies.again import around, window
from patchgate.policies.budget import Budget
from patchgate.policies.frames import Frames
from patchgate.policies.grids import Cells, Grid, llava_onevision, qwen3_vl, qwen25_vl, siglip
from patchgate.policies.named import POLICIES
from patchgate.policies.named.by_relevance import aks, bolt, date, mdp3, q_frame, sevila
from patchgate.policies.named.f2c import f2c
from patchgate.policies.named.focus import focus
from patchgate.policies.named.love_r1 import love_r1, zoom
from patchgate.policies.named.query_free import (
    apollo,
    chronoforge,
    cvvae,
    earl,
    frame_skip,
    framethinker,
    kffocus,
    maxinfo,
    mgsampler,
    slice,
    uniform,
)
from patchgate.policies.plan import Plan
from patchgate.policies.video import (
    CappedGate,
    DualEncoder,
    Looker,
    container_frames,
    tokenize_with_statistics,
)
from patchgate.policies.video.statistics import frame_statistics

__all__ = [
    "POLICIES",
    "Budget",
    "CappedGate",
    "Cells",
    "DualEncoder",
    "Frames",
    "Grid",
    "Looker",
    "Plan",
    "aks",
    "apollo",
    "around",
    "bolt",
    "chronoforge",
    "container_frames",
    "cvvae",
    "date",
    "diverse",
    "earl",
    "f2c",
    "focus",
    "frame_skip",
    "frame_statistics",
    "framethinker",
    "kffocus",
    "labels",
    "llava_onevision",
    "love_r1",
    "maxinfo",
    "mdp3",
    "mgsampler",
    "pick",
    "pool",
    "q_frame",
    "qwen3_vl",
    "qwen25_vl",
    "sevila",
    "siglip",
    "slice",
    "spend",
    "tokenize_with_statistics",
    "uniform",
    "window",
    "zoom",
]
