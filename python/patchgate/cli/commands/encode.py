"""The commands tokenize and embed: tokens, or one vector a frame, of videos, as files."""

from typing import Annotated, Any

import typer

from patchgate.cli.commands.options import GateOptions, ReadOptions
from patchgate.cli.commands.program import Json, app
from patchgate.cli.commands.spreading import spread
from patchgate.cli.commands.tower_options import TowerOptions, refuse_geometry
from patchgate.cli.commands.typed import as_usage_error

Videos = Annotated[
    list[str], typer.Argument(metavar="VIDEO...", help="Video files.", show_default=False)
]
Output = Annotated[
    str,
    typer.Option("-o", "--output", metavar="FILE|FOLDER", show_default=False,
                 help="A file (.safetensors), or a folder that gets one for each video, named "
                 "after it; a name without an extension is a folder's."),
]  # fmt: skip
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
POOLS = ("auto", "cls", "pooled", "mean")
_TOWER = (
    "A folder that save_pretrained wrote (model and processor), a model of timm, or one of the "
    "Hugging Face hub. It sets --size, --patch and the like."
)


@app.command()
@spread
def tokenize(
    context: typer.Context,
    video: Videos,
    output: Output,
    gate: GateOptions,
    read: ReadOptions,
    model: TowerOptions,
    tower: Annotated[
        str | None,
        typer.Option("--tower", metavar="NAME|FOLDER", help=_TOWER, show_default="tokens are "
                     "the cells' own pixels"),
    ] = None,
    costs: Annotated[
        bool | None,
        typer.Option("--costs/--no-costs", help="Say what every frame, and 1, 2 and 5 frames a "
                     "second, cost with and without the gate. Their gates take time.",
                     show_default="with --grid"),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Turn every frame into tokens, of which only the changed cells are new.

    Writes a file for patchgate.VideoTokens.load (docs/token-file.md). Memory does not grow with the
    video's length. Ctrl-C ends early; the frames so far are in a file whose name ends in
    .incomplete. Pressed again, it leaves none.
    """
    from patchgate.cli.encode import tokenize_lines, tokenized
    from patchgate.cli.grids import reader_of
    from patchgate.cli.job import Job

    with as_usage_error():
        model.check()
        if tower is not None:
            refuse_geometry(context)
        elif model != TowerOptions():
            raise ValueError("--dtype, --save-dtype, --tolerance: they belong to --tower")
        counted = gate.grid != "own" if costs is None else costs
        reader = reader_of(gate.grid, gate.model) if counted else None
        job = Job(video, output, force, gate.gate(context), read.apply(), tower, model,
                  grid=gate.grid, reader=reader)  # fmt: skip
    return job.run(tokenized, tokenize_lines, as_json)


@app.command()
@spread
def embed(
    context: typer.Context,
    video: Videos,
    output: Output,
    tower: Annotated[
        str, typer.Option("--tower", metavar="NAME|FOLDER", help=_TOWER, show_default=False)
    ],
    gate: GateOptions,
    read: ReadOptions,
    model: TowerOptions,
    pool: Annotated[
        str,
        typer.Option("--pool", metavar="|".join(POOLS),
                     help="What a frame's vector is: the tower's pooled output, its CLS, or the "
                     "mean over cells; auto: the tower's own convention."),
    ] = "auto",
    force: Force = False,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Turn every frame into one vector, of which only the changed cells are computed.

    Writes a safetensors file with features [T, D] and pts_seconds [T] (docs/token-file.md). Ctrl-C
    ends early; the frames so far are in a file whose name ends in .incomplete. Pressed again, it
    leaves none.
    """
    from patchgate._check import checked_choice
    from patchgate.cli.encode import embed_lines, embedded
    from patchgate.cli.job import Job

    with as_usage_error():
        model.check()
        refuse_geometry(context)
        pool = checked_choice("--pool", pool, POOLS)
        job = Job(video, output, force, gate.gate(), read.apply(), tower, model, pool)
    return job.run(embedded, embed_lines, as_json)
