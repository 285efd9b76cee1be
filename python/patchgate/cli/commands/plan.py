"""``patchgate plan``: what a policy would look at, under a budget."""

from pathlib import Path
from typing import Annotated, Any

import typer

from patchgate.cli.commands.options import GateOptions, ReadOptions
from patchgate.cli.commands.program import Json, VideoPath, app
from patchgate.cli.commands.spreading import spread
from patchgate.cli.commands.typed import typed


def _listed(asked: bool) -> None:
    if asked:
        from patchgate.cli.policies import listing

        typer.echo(listing())
        raise typer.Exit


@app.command()
@spread
def plan(
    context: typer.Context,
    video: VideoPath,
    gate: GateOptions,
    read: ReadOptions,
    policy: Annotated[
        str, typer.Option("--policy", metavar="NAME", help="How frames are chosen; --policies "
                          "lists all names, what each does, and which need scores.")
    ] = "uniform",
    policies: Annotated[
        bool, typer.Option("--policies", callback=_listed, is_eager=True,
                           help="List the policies, and exit.")
    ] = False,
    frames: Annotated[
        int | None, typer.Option("--frames", help="At most so many frames.", min=1,
                                 show_default="as many as the tokens allow")
    ] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", help="At most so many tokens of the language model.",
                                 min=1, show_default="no limit")
    ] = None,
    rounding: Annotated[
        str, typer.Option("--rounding", metavar="NAME", help="Of Qwen's grids: transformers, "
                          "transformers_capped or qwen_vl_utils.")
    ] = "transformers",
    scores: Annotated[
        Path | None, typer.Option("--scores", metavar="S.npy", show_default=False,
                                  help="A query's score of each frame that is looked at (--fps).")
    ] = None,
    features: Annotated[
        Path | None, typer.Option("--features", metavar="F.npy", show_default=False,
                                  help="Features of each of them: frames x numbers.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Deprecated: what the policy's public code does, its "
                           "defects included.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="REPORT.html", show_default=False,
                                  help="The report of patchgate inspect, with the plan in it.")
    ] = None,
    costs: Annotated[
        bool, typer.Option("--costs/--no-costs", help="Say what the plan, and 1, 2 and 5 frames a "
                           "second, cost after the gate; the video is decoded for that.")
    ] = True,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Say which frames a policy would look at, in what detail, and what they cost."""
    from patchgate.cli import plan as work
    from patchgate.cli.outputs import not_the_video
    from patchgate.cli.signals import kills_interrupt
    from patchgate.cli.terminal import reported, result

    named = work.policy_of(policy, strict)
    work.check_given(policy, named, {"rel": scores, "feat": features})
    if output is not None and output.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"--output: expected a name that ends in .html; got {output}")
    wanted, options = gate.gate(context), read.apply()
    with reported() as warned, kills_interrupt():
        not_the_video(video, output)
        job = work.Job(
            video, policy, named, wanted, gate.grid, gate.model, rounding, options, frames, tokens,
            scores, features, strict, output, costs, typed(context),
        )  # fmt: skip
        facts, lines = work.planned(job)
        facts["warnings"] = warned
        result(facts, lines, video, as_json)
    return facts
