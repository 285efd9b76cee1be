"""What ``patchgate advise`` prints of an ``Advice``."""

from dataclasses import asdict
from typing import Any

from patchgate.report.advice.found import Advice, Option


def facts_of(video: str, gate: Any, found: Advice) -> dict[str, Any]:
    """Returns what --json prints."""
    best = found.best
    return {
        "video": video,
        "frames": found.frames,  # tubelets, if the temporal patch is 2
        "seconds": found.seconds,
        "cells": list(found.cells),
        "gate": asdict(gate),
        "target": found.target,
        "options": [_option(found, each) for each in found.options],
        "best": None if best is None else _option(found, best),
        "advice": found.recommendation,
    }


def _option(found: Advice, option: Option) -> dict[str, Any]:
    return {"name": found.name(option), **asdict(option), "score": option.score}
