"""``patchgate corpus``: thousands of videos become files of tokens and an index, and it goes on."""

from pathlib import Path
from typing import Annotated, Any

import typer

from patchgate.cli.commands.corpus_options import EXTENSIONS, MANIFESTS, CorpusOptions
from patchgate.cli.commands.options import GateOptions
from patchgate.cli.commands.program import Json, app
from patchgate.cli.commands.spreading import spread
from patchgate.cli.commands.tower_options import TOWER, TowerOptions, check_tower
from patchgate.cli.commands.typed import as_usage_error

_INPUTS = (
    "Files; folders, of which files with these extensions are taken: "
    f"{', '.join(EXTENSIONS)}; patterns such as 'videos/**/*.mp4'; manifests "
    f"({', '.join(MANIFESTS)}) with a column path and perhaps start, end (seconds) and id."
)


@app.command()
@spread
def corpus(
    context: typer.Context,
    input: Annotated[list[str], typer.Argument(metavar="INPUT...", help=_INPUTS,
                                               show_default=False)],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT", show_default=False,
                     help="The folder to write: a new or empty one, or that of an earlier call."),
    ],
    own: CorpusOptions,
    gate: GateOptions,
    model: TowerOptions,
    tower: Annotated[
        str | None,
        typer.Option("--tower", metavar="NAME|FOLDER", help=TOWER, show_default="tokens are "
                     "the cells' own pixels"),
    ] = None,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Turn thousands of videos into files of tokens and an index, and go on where it ended.

    The same command again does only what is missing or changed. A video that cannot be read is in
    the index with the reason, and the job goes on. Ctrl-C or a kill loses only the videos in hand.
    Exit codes: 0 all are done, 1 some failed now or before, 2 a wrong call, 130 interrupted.
    """
    from patchgate.cli.corpus import work

    with as_usage_error():
        check_tower(context, tower, model)
        how = work.how_of(own)
        settings = work.settings_of(own, gate.gate(context), gate.grid, tower, model)
    return work.done(work.Call(input, output, own, how, settings), as_json)
