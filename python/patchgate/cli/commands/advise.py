"""``patchgate advise``: which settings fit a video."""

from typing import Annotated, Any

import typer

from patchgate.cli.commands.options import GateOptions, ReadOptions
from patchgate.cli.commands.program import Json, VideoPath, app
from patchgate.cli.commands.spreading import spread
from patchgate.cli.commands.typed import as_usage_error


@app.command()
@spread
def advise(
    context: typer.Context,
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
    from patchgate.cli.advise import facts_of
    from patchgate.cli.grids import sized_for
    from patchgate.cli.signals import kills_interrupt
    from patchgate.cli.terminal import reported, result
    from patchgate.report.advice.advise import advise as advised
    from patchgate.report.advice.advise import checked_goal

    with as_usage_error():
        goal = checked_goal(target, seconds)
    wanted, options = gate.gate(context), read.apply()
    with reported() as warned, kills_interrupt():
        wanted = sized_for(wanted, gate.grid, video, options)
        found = advised(video, None, *goal, gate=wanted, **options)
        facts = facts_of(video, wanted.settings, found) | {"warnings": warned}
        result(facts, found.lines(), video, as_json)
    return facts
