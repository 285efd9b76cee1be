"""Signatures that show settings which a function passes on as keywords.

``**settings: Unpack[SomeKwargs]`` shows type checkers and editors which names a function takes.
``spelled`` shows ``help()`` and ``inspect.signature`` the same, with the defaults. These are
written only once, in the dataclass that checks them. A setting that does not change if it is left
out has no default, and reads ``= ...``.
"""

import inspect
from collections.abc import Callable, Collection
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_type_hints, is_typeddict

Function = TypeVar("Function", bound=Callable[..., Any])


class AsItIs:
    """The default of a setting that does not change if it is left out."""

    def __repr__(self) -> str:
        return "..."


AS_IT_IS = AsItIs()


def spelled(
    *settings: type | Callable[..., Any], leave_out: Collection[str] = ()
) -> Callable[[Function], Function]:
    """Shows a function's ``**`` keywords one by one.

    Args:
        settings: dataclasses whose fields, or functions whose keywords with a default, are taken;
            or a TypedDict, whose keys do not change if they are left out.
        leave_out: those of their names that the function does not take.
    """

    def shown(function: Function) -> Function:
        signature = inspect.signature(function)
        named = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        taken = {each.name for each in named} | set(leave_out)
        more = [each for each in _keywords(settings) if each.name not in taken]
        function.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*named, *more]
        )
        return function

    return shown


def _keywords(settings: Collection[Any]) -> list[inspect.Parameter]:
    found: dict[str, inspect.Parameter] = {}
    values: dict[str, tuple[Any, Any]]
    for each in settings:
        if is_typeddict(each):
            values = {name: (AS_IT_IS, kind) for name, kind in get_type_hints(each).items()}
        elif isinstance(each, type):
            kinds = get_type_hints(each)
            values = {f.name: (f.default, kinds[f.name]) for f in fields(each)}
        else:
            own = inspect.signature(each, eval_str=True).parameters.values()
            values = {p.name: (p.default, p.annotation) for p in own}
        for name, (default, kind) in values.items():
            if default is not MISSING and default is not inspect.Parameter.empty:
                found[name] = inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind
                )
    return list(found.values())
