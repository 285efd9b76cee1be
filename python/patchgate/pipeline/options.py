"""Separates the options of ``tokenize`` and similar functions: the gate's, and the decoder's."""

from collections.abc import Mapping
from typing import Any

from patchgate._check.text import nearest_first
from patchgate.decode.opening import OpenKwargs
from patchgate.gate import Gate
from patchgate.gate.settings import GEOMETRY, GateRules


class TokenizeKwargs(GateRules, OpenKwargs, total=False):
    """The keywords of ``tokenize`` besides its own arguments; ``tokenize`` documents them."""


def parted(
    caller: str, given: Mapping[str, Any], gate: Gate | None, takes: type = TokenizeKwargs
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separates the options of a call: the gate's rules, and the options of ``open_video``.

    Args:
        caller: the name of the called function, for messages.
        options: the options.
        gate: the gate of the call, or None.
        takes: the TypedDict of the options that the function takes.

    Raises:
        TypeError: there is no such option.
        ValueError: there are rules and a gate, which has its own.
    """
    known = takes.__annotations__
    for name in given:
        if name not in known:
            hint = f"; {name} goes into gate=Gate({name}=...)" if name in GEOMETRY else ""
            listed = ", ".join(nearest_first(name, known))
            raise TypeError(f"{caller}: expected options of {listed}, got {name!r}{hint}")
    rules = {name: value for name, value in given.items() if name in GateRules.__annotations__}
    if rules and gate is not None:
        listed = ", ".join(f"{name}={value!r}" for name, value in rules.items())
        raise ValueError(
            f"{caller}: expected a gate or rules for one, got gate= and {listed}; give the rules "
            f"to the gate, as gate=Gate({listed}), or leave gate out"
        )
    return rules, {name: value for name, value in given.items() if name not in rules}
