"""The options of a tower."""

from dataclasses import dataclass
from typing import Annotated

import typer

from patchgate.cli.commands.options import GEOMETRY
from patchgate.cli.commands.typed import refuse

DTYPES = ("float32", "float16", "bfloat16")
TOWER = (
    "A folder that save_pretrained wrote (model and processor), a model of timm, or one of the "
    "Hugging Face hub. It sets --size, --patch and the like."
)
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
        typer.Option("--tolerance", min=0, rich_help_panel=_PANEL, show_default="0.15, embed 0.1",
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
    def saved(self) -> str:
        """The name of the dtype of the features in the file."""
        return self.save_dtype or self.dtype


def check_tower(context: typer.Context, tower: str | None, options: TowerOptions) -> None:
    """Raises a ``ValueError`` for options of a tower without one, and for those that it sets."""
    options.check()
    if tower is not None:
        refuse_geometry(context)
    elif options != TowerOptions():
        raise ValueError("--dtype, --save-dtype, --tolerance: they belong to --tower")


def refuse_geometry(context: typer.Context) -> None:
    """Raises a ``ValueError`` if an option was given that the tower sets."""
    refuse(context, ("grid", *GEOMETRY), "--tower")
