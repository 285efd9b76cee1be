"""--tower: the options of a tower that is loaded by a folder's or a model's name."""

from dataclasses import dataclass
from typing import Annotated

import torch
import typer

from patchgate.encoders.gated.tower import GatedTower
from patchgate.encoders.named import DTYPES, load_tower
from patchgate.gate import GateSettings
from patchgate.gate.settings import GEOMETRY

_PANEL = "The model"


@dataclass(frozen=True)
class TowerOptions:
    """The options of a tower."""

    dtype: Annotated[
        str,
        typer.Option("--dtype", metavar="|".join(DTYPES), rich_help_panel=_PANEL,
                     help="The numbers that --tower computes with."),
    ] = "float32"  # fmt: skip
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", min=0, rich_help_panel=_PANEL, show_default="0.15",
                     help="Share of its norm by which a still cell's state may move before it is "
                     "computed again; 0 is exact."),
    ] = None  # fmt: skip
    save_dtype: Annotated[
        str | None,
        typer.Option("--save-dtype", metavar="|".join(DTYPES), rich_help_panel=_PANEL,
                     show_default="--dtype", help="The numbers of the features in the file; numpy "
                     "has no bfloat16."),
    ] = None  # fmt: skip

    def check(self) -> None:
        """Raises a ``ValueError`` for a dtype that is none."""
        for name, value in (("--dtype", self.dtype), ("--save-dtype", self.save_dtype)):
            if value is not None and value not in DTYPES:
                raise ValueError(f"{name}: expected {', '.join(DTYPES)}, got {value!r}")

    @property
    def saved(self) -> torch.dtype:
        """The dtype of the features in the file."""
        return DTYPES[self.save_dtype or self.dtype]


def check_tower(context: typer.Context, tower: str | None, options: TowerOptions) -> None:
    """Raises a ``ValueError`` for options of a tower without one, and for those that it sets."""
    options.check()
    if tower is not None:
        refuse_geometry(context)
    elif options != TowerOptions():
        raise ValueError("--dtype, --save-dtype, --tolerance: they belong to --tower")


def refuse_geometry(context: typer.Context) -> None:
    """Raises a ``ValueError`` if an option was given that the tower sets."""
    for name in GEOMETRY:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(f"--{name.replace('_', '-')}: --tower sets it; leave it out")


def loaded(name: str, options: TowerOptions, settings: GateSettings) -> GatedTower:
    """Loads a tower and gates it; ``load_tower`` says which names and errors there are."""
    return load_tower(
        name, settings, dtype=options.dtype, tolerance=options.tolerance, called="--tower"
    )
