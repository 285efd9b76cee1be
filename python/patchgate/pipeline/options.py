"""The options of ``tokenize`` and its like: the gate's rules, and the decoder's."""

from collections.abc import Mapping
from typing import Any

from patchgate.decode.opening import OpenKwargs
from patchgate.gate import Gate
from patchgate.gate.settings import GEOMETRY, GateRules


class TokenizeKwargs(GateRules, OpenKwargs, total=False):
    """The keywords of ``tokenize`` beside its own arguments; ``tokenize`` documents them."""


def parted(
    caller: str, given: Mapping[str, Any], gate: Gate | None, takes: type = TokenizeKwargs
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The gate's rules among the options of a call, and those of ``open_video``.

    Args:
        caller: whose options they are, for messages.
        gate: that came beside them.
        takes: the TypedDict of those that it takes.

    Raises:
        TypeError: an option that there is not.
        ValueError: rules beside a gate, which has its own.
    """
    known = takes.__annotations__
    for name in given:
        if name not in known:
            hint = f"; {name} goes into gate=Gate({name}=...)" if name in GEOMETRY else ""
            raise TypeError(f"{caller}: expected options of {', '.join(known)}, got {name!r}{hint}")
    rules = {name: value for name, value in given.items() if name in GateRules.__annotations__}
    if rules and gate is not None:
        told = ", ".join(f"{name}={value!r}" for name, value in rules.items())
        raise ValueError(
            f"{caller}: expected a gate or rules for one, got gate= and {told}; give the rules to "
            f"the gate, as gate=Gate({told}), or leave gate out"
        )
    return rules, {name: value for name, value in given.items() if name not in rules}
