"""``patchgate bench``: what the gate saves and costs on a video of the user's own."""

from typing import Annotated, Any

import typer

from patchgate.cli.commands.models import TOWERS
from patchgate.cli.commands.options import GateOptions, ReadOptions
from patchgate.cli.commands.program import Json, VideoPath, app
from patchgate.cli.commands.spreading import spread
from patchgate.cli.commands.tower_options import refuse_geometry
from patchgate.cli.commands.typed import as_usage_error


@app.command()
@spread
def bench(
    context: typer.Context,
    video: VideoPath,
    gate: GateOptions,
    read: ReadOptions,
    frames: Annotated[
        int,
        typer.Option("--frames", min=2, help="Frames to hold in memory, up to whole chunks."),
    ] = 128,
    rounds: Annotated[
        int, typer.Option("--rounds", min=1, help="Times that each way is measured, in turn.")
    ] = 5,
    tower: Annotated[
        str | None,
        typer.Option("--tower", metavar="|".join(TOWERS), show_default="none",
                     help="Encode, too, with a tower of this size and random weights; it sets "
                     "--size and --patch. Needs transformers."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", min=0, show_default="0.15",
                     help="Of --tower, as patchgate.gated takes it."),
    ] = None,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Measure the stages on a video: what is kept, and the time it takes, beside every cell.

    Then says where the time goes, decoding included, and what a saving in the tower is worth as a
    whole: 1 / (1 - share * saving) times the speed. Random weights of --tower flatter what
    a tolerance saves; what kept cells alone save does not depend on weights.
    """
    from patchgate.cli import bench as work
    from patchgate.cli.grids import reader_of
    from patchgate.cli.terminal import reported, result

    with as_usage_error():
        if tower is not None:
            refuse_geometry(context)
        model = None if tower is None else work.model_of(tower)
        wanted = work.gate_of(gate.gate(context), model)
    options, reader = read.apply(), reader_of(gate.grid, gate.model)
    with reported() as warned:
        job = work.Job(video, frames, rounds, wanted, gate.grid, reader, options)
        facts = work.facts_of(job, model, tolerance) | {"tower": tower, "warnings": warned}
        result(facts, work.lines_of(facts), video, as_json)
    return facts
