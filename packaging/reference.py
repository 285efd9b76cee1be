"""Signatures in the reference as ``help()`` shows them: an extension of griffe, for mkdocstrings.

``**settings: Unpack[GateRules]`` is one word in the sources. ``patchgate._signature.spelled`` shows
its names and defaults; here they get into the pages. A docstring that lists such names below the
word becomes a list.
"""

import inspect
import re
from functools import reduce
from importlib import import_module
from typing import Any

from griffe import Extension, Function, Parameter, ParameterKind

_ITEM = re.compile(r"^ {8}(\w+(?:, \w+)*): ", re.MULTILINE)
_BELOW = re.compile(r"\n\n {8}\w+(?:, \w+)*: .*(?:\n {8}.*|\n(?=\n {8}))*")


class Spelled(Extension):
    """Replaces a function's ``**`` keywords by those that it shows."""

    def on_function(self, *, func: Function, **_: Any) -> None:
        """Called by griffe for each function that it has read."""
        words = [p for p in func.parameters if p.kind is ParameterKind.var_keyword]
        if not words or "Unpack" not in str(words[0].annotation):
            return
        name = words[0].name
        shown = inspect.signature(_found(func)).parameters.values()
        there = {parameter.name for parameter in func.parameters}
        more = [each for each in shown if each.name not in there]
        if not more:  # it is not spelled: the word stays, and its docstring says what it is
            return
        del func.parameters[name]
        for each in more:
            func.parameters.add(
                Parameter(each.name, kind=ParameterKind.keyword_only, default=repr(each.default))
            )
        if func.docstring:
            func.docstring.value = _listed(func.docstring.value)


def _found(func: Function) -> Any:
    """The function itself."""
    module = func.module.path
    path = func.path.removeprefix(f"{module}.").split(".")
    return reduce(getattr, path, import_module(module))


def _listed(text: str) -> str:
    """Makes a list of the names that a docstring explains below a word of its Args."""
    below = _BELOW.search(text)
    if not below:
        return text
    items = _ITEM.sub(r"        - **\1**: ", below[0])
    return text[: below.start()] + items + text[below.end() :]
