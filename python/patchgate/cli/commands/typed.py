"""What was typed: whether an option was given, the command as a line, errors as wrong usage."""

import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import typer


def parsed_size(text: str) -> tuple[int, int]:
    """Reads ``378``, ``378,672`` or ``378x672`` as (H, W)."""
    found = re.fullmatch(r"\s*(\d{1,6})\s*(?:[,x]\s*(\d{1,6})\s*)?", text)
    if not found:
        raise ValueError(f"size: expected one number of pixels, or H,W; got {text!r}")
    return int(found[1]), int(found[2] or found[1])


def given(context: typer.Context, name: str) -> bool:
    """Whether an option was given on the command line, if only with the value of its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def refuse(context: typer.Context, names: Iterable[str], who: str) -> None:
    """Raises a ``ValueError`` if an option was given that another one, ``who``, sets."""
    for name in names:
        if given(context, name):
            raise ValueError(f"--{name.replace('_', '-')}: {who} sets it; leave it out")


def typed(context: typer.Context) -> str:
    """Returns the command with the options that were given, quoted for a shell."""
    words = ["patchgate", str(context.info_name)]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params.get(str(parameter.name))
        if not given(context, name):
            continue
        if parameter.param_type_name == "argument":
            words.append(str(value))
            continue
        flags = parameter.opts if value is not False else parameter.secondary_opts
        for one in value if isinstance(value, (list, tuple)) else [value]:
            words += [max(flags, key=len), *([] if isinstance(one, bool) else [str(one)])]
    return shlex.join(words)


@contextmanager
def as_usage_error() -> Iterator[None]:
    """Turns errors about an option's value into wrong usage (exit code 2)."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
