"""patchgate: every frame becomes vision tokens; only the patches that changed are paid for."""

import sys
from importlib import import_module, reload
from typing import Any

from patchgate import _early as _early  # before torch, which takes its time

__version__ = "0.1.0"

if not _early.COMMAND:  # our own commands import what they need, and --help needs no torch
    from patchgate import _ops as _ops  # loads the native library and registers the ops
    from patchgate import corpus, language, policies, reference
    from patchgate._ops.library import build_info
    from patchgate.decode import (
        Colour,
        DecodeError,
        DecodeWarning,
        FrameBatch,
        Limits,
        NvdecUnavailable,
        Video,
        open_video,
    )
    from patchgate.encoders.gated import gated
    from patchgate.encoders.gated.calibrate import Calibration, calibrate
    from patchgate.encoders.gated.clips import GatedClips
    from patchgate.encoders.gated.fixed import FixedTower
    from patchgate.encoders.gated.streams import TowerStreams
    from patchgate.encoders.gated.tower import GatedTower, TowerStream
    from patchgate.gate import Gate, GateResult
    from patchgate.gate.settings import Kind
    from patchgate.gather import PixelSpec
    from patchgate.live import (
        Backoff,
        Box,
        CameraStats,
        Live,
        LiveBatch,
        LiveEvent,
        LiveStats,
        Seen,
        Segment,
        Segments,
        StoredSegments,
        Watch,
        open_live,
        read_segments,
        watch,
    )
    from patchgate.merging import MergeStream, Scenes, merge, scenes
    from patchgate.pipeline import Embedding, Tokenizer, embed, push_together, tokenize
    from patchgate.report.advice.advise import advise
    from patchgate.report.advice.found import Advice
    from patchgate.report.inspected import Report, inspect
    from patchgate.tokens import (
        TokenBatch,
        TokenChunk,
        TokenGrid,
        TokenLayout,
        TokenShape,
        VideoTokens,
        collate,
    )

__all__ = [
    "Advice",
    "Backoff",
    "Box",
    "Calibration",
    "CameraStats",
    "Colour",
    "DecodeError",
    "DecodeWarning",
    "Embedding",
    "FixedTower",
    "FrameBatch",
    "Gate",
    "GateResult",
    "GatedClips",
    "GatedTower",
    "Kind",
    "Limits",
    "Live",
    "LiveBatch",
    "LiveEvent",
    "LiveStats",
    "MergeStream",
    "NvdecUnavailable",
    "PixelSpec",
    "Report",
    "Scenes",
    "Seen",
    "Segment",
    "Segments",
    "StoredSegments",
    "TokenBatch",
    "TokenChunk",
    "TokenGrid",
    "TokenLayout",
    "TokenShape",
    "Tokenizer",
    "TowerStream",
    "TowerStreams",
    "Video",
    "VideoTokens",
    "Watch",
    "advise",
    "build_info",
    "calibrate",
    "collate",
    "corpus",
    "embed",
    "gated",
    "inspect",
    "language",
    "merge",
    "open_live",
    "open_video",
    "policies",
    "push_together",
    "read_segments",
    "reference",
    "scenes",
    "tokenize",
    "watch",
]


def __getattr__(name: str) -> Any:
    """Brings the public names into a process of our own command, where somebody asks for one."""
    if not _early.COMMAND or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in ("corpus", "language", "policies", "reference"):
        return import_module(f"{__name__}.{name}")
    _early.COMMAND = False
    return getattr(reload(sys.modules[__name__]), name)
