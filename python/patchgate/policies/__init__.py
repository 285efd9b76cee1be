"""What to look at, under one budget of tokens: ``policy(frames, budget) -> Plan``.

A policy is made of three small parts and knows nothing of pixels:

pool.py     which frames are candidates        grids.py    tokens of a frame after merging
pick.py     which survive, by a score          budget.py   frames and tokens
diverse.py  .. by features                     frames.py   candidates and what is known of them
spend.py    in what detail each is shown       plan.py     frames, detail, cost; sets of plans
again.py    windows, for a second look        labels.py   how times are told to a model

What knows of videos: container.py (times and key frames, with no decoding), statistics.py (the
gate's, by the way), scorer.py (of a query), prior.py (a plan's ratio as a cap on the gate),
looker.py with wanted.py and joined.py (looks again, and does nothing twice).

seeds.py, peers.py, f2c.py, focus.py: the literature's systems, a composition each, listed in
registry.py; published.py is what their public code does, defects included. docs/policies.md says
what is what.
"""

from patchgate.policies import diverse, labels, pick, pool, spend
from patchgate.policies.again import around, window
from patchgate.policies.budget import Budget
from patchgate.policies.container import container_frames
from patchgate.policies.f2c import f2c
from patchgate.policies.focus import focus
from patchgate.policies.frames import Frames
from patchgate.policies.grids import Cells, Grid, llava_onevision, qwen3_vl, qwen25_vl, siglip
from patchgate.policies.looker import Looker
from patchgate.policies.peers import aks, bolt, maxinfo, mdp3, mgsampler, q_frame, slice, uniform
from patchgate.policies.plan import Plan
from patchgate.policies.prior import CappedGate
from patchgate.policies.registry import POLICIES
from patchgate.policies.scorer import DualEncoder
from patchgate.policies.seeds import (
    apollo,
    chronoforge,
    cvvae,
    date,
    earl,
    frame_skip,
    framethinker,
    kffocus,
    love_r1,
    sevila,
    zoom,
)
from patchgate.policies.statistics import frame_statistics, tokenize_with_statistics

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
