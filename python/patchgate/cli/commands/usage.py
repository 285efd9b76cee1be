"""Escapes names in messages about wrong usage, as in all output of a command."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperGroup

from patchgate._check.text import escaped


class Commands(TyperGroup):
    """The commands together."""

    def make_context(self, *args: Any, **more: Any) -> Any:
        with _escaping():
            return super().make_context(*args, **more)

    def invoke(self, ctx: Any) -> Any:
        with _escaping():
            return super().invoke(ctx)


@contextmanager
def _escaping() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message"):  # click's own, of which typer may have a copy
            error.message = escaped(error.message)  # type: ignore[attr-defined]
        raise
