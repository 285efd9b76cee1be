"""``patchgate advise``: which settings fit a video."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from patchgate.cli.commands import Json, VideoPath, app
from patchgate.cli.options import GateOptions, ReadOptions, as_usage_error, spread
from patchgate.cli.signals import kills_interrupt
from patchgate.cli.terminal import reported, result
from patchgate.report.advice.advise import advise as advised
from patchgate.report.advice.advise import checked_goal
from patchgate.report.advice.found import Advice, Option


@app.command()
@spread
def advise(
    video: VideoPath,
    gate: GateOptions,
    read: ReadOptions,
    target: Annotated[
        float,
        typer.Option("--target", help="The least score, above 0 and at most 1: 1 - the larger one "
                     "of the errors over all cells and over those that changed most."),
    ] = 0.99,
    seconds: Annotated[
        float, typer.Option("--seconds", help="How much of the video is played, from --start on.")
    ] = 5.0,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Say which settings fit a video: a handful of them, beside taking every k-th frame.

    The settings of the gate that are given here are tried, too, and all others keep the rest of
    them. There is no tower: pixels stand in for its features. patchgate.advise(video, tower) in
    Python measures a tower of yours.
    """
    with as_usage_error():
        goal = checked_goal(target, seconds)
    wanted, options = gate.gate(), read.apply()
    with reported() as warned, kills_interrupt():
        found = advised(video, None, *goal, gate=wanted, **options)
        facts = _facts(video, wanted.settings, found) | {"warnings": warned}
        result(facts, found.lines(), video, as_json)
    return facts


def _facts(video: str, gate: Any, found: Advice) -> dict[str, Any]:
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
