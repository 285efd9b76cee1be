"""The program, to which each module of this folder adds its commands."""

from typing import Annotated

import typer

from patchgate import __version__
from patchgate.cli.commands.usage import Commands

app = typer.Typer(
    cls=Commands,
    help="Every frame of a video becomes vision tokens; only the patches that changed are paid "
    "for. Exit codes: 0 done, 1 bad input or output, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

VideoPath = Annotated[
    str, typer.Argument(metavar="VIDEO", help="A video file.", show_default=False)
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object, and nothing else, on standard output."),
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"patchgate {__version__}")
        raise typer.Exit


@app.callback()
def _patchgate(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show it and exit."),
    ] = False,
) -> None:
    pass
