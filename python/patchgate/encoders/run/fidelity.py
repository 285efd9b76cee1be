"""How close a gated tower stays to the dense one."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypedDict, get_args

from patchgate._check import checked_choice, checked_count, checked_number, checked_switch, settle
from patchgate.gate import GateSettings

Context = Literal["full", "kept"]
Moved = Literal["own", "source", "lend"]

DEFAULT_TOLERANCE = 0.15  # docs/towers.md argues it
VECTOR_TOLERANCE = 0.1  # that of one vector a frame: the same page, "One vector a frame"


class FidelityKwargs(TypedDict, total=False):
    """The keywords of ``gated`` that make a ``Fidelity``. ``gated`` documents them."""

    context: Context
    tolerance: float
    tolerance_layers: int | None
    refresh: int | None
    moved: Moved
    pass_over: tuple[float, int] | None


@dataclass(frozen=True)
class Fidelity:
    """The arguments of ``gated`` that decide how cells that were not kept take part.

    ``gated`` documents them.
    """

    context: Context = "full"
    tolerance: float = DEFAULT_TOLERANCE
    tolerance_layers: int | None = None
    refresh: int | None = None
    moved: Moved = "own"
    pass_over: tuple[float, int] | None = None

    def __post_init__(self) -> None:
        settle(
            self,
            context=checked_choice("context", self.context, get_args(Context)),
            tolerance=checked_number("tolerance", self.tolerance, 0, math.inf, "of a state's norm"),
            moved=checked_choice("moved", self.moved, get_args(Moved)),
        )
        for name, low in (("tolerance_layers", 0), ("refresh", 1)):
            if (count := getattr(self, name)) is not None:
                settle(self, **{name: checked_count(name, count, low)})
        if self.pass_over is not None:
            settle(self, pass_over=_checked_pass_over(self.pass_over))
            if self.context == "full" and self.moved != "own":
                raise ValueError(
                    'pass_over: it needs moved="own", because cells that changed in a frame that '
                    "is passed over are computed from a later one's pixels; got "
                    f"moved={self.moved!r}"
                )
        if self.context == "kept":
            for each in fields(self)[1:]:
                if getattr(self, each.name) != each.default:
                    raise ValueError(
                        f'{each.name}: context="kept" has no use for it; it belongs to '
                        'context="full"'
                    )

    def watches(self, layer: int) -> bool:
        """Whether still tokens can become active in a layer."""
        limit = self.tolerance_layers
        near = self.context == "full" and self.tolerance < math.inf
        return near and (limit is None or layer < limit)

    @property
    def repositions(self) -> bool:
        """Whether moved cells are embedded where they are now."""
        return self.context == "full" and (self.moved != "lend" or self.tolerance == 0)

    @property
    def owns(self) -> bool:
        """Whether cells are embedded from their own pixels only, never from their sources'."""
        return self.context == "full" and self.moved == "own"

    @property
    def embeds_again(self) -> bool:
        """Whether the pixels of earlier tokens can be needed."""
        return not self.owns and (self.repositions or self.refresh is not None)

    def check_gate(self, settings: GateSettings) -> None:
        """Raises a ``ValueError`` if such a tower cannot use a gate of these settings."""
        if self.pass_over is not None and settings.memory:
            raise ValueError(
                "memory: a tower that passes frames over (pass_over) does not know which picture "
                "returns; use one of them"
            )

    def for_vectors(self, tolerance: float | None) -> "Fidelity":
        """Returns the fidelity with which a vector of each frame is made.

        Args:
            tolerance: in place of its own. None: its own, or ``VECTOR_TOLERANCE`` if that is the
                default, which was chosen for the states of cells.
        """
        if tolerance is None:
            if self.context == "kept" or self.tolerance != DEFAULT_TOLERANCE:
                return self
            tolerance = VECTOR_TOLERANCE
        return replace(self, tolerance=tolerance)

    def without_frames(self) -> "Fidelity":
        """Returns the fidelity of calls that are given the pixels of kept cells only."""
        return replace(self, moved="source") if self.owns else self

    @classmethod
    def split(cls, given: Mapping[str, Any]) -> tuple["Fidelity", dict[str, Any]]:
        """Splits settings into a ``Fidelity`` and the settings that it does not have."""
        names = {each.name for each in fields(cls)}
        given = _renamed(given)
        own = {name: value for name, value in given.items() if name in names}
        return cls(**own), {name: v for name, v in given.items() if name not in names}


def _checked_pass_over(given: Any) -> tuple[float, int]:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise TypeError(
            f"pass_over: expected (share of the cells, most frames in a row) or None, got {given!r}"
        )
    share = checked_number("pass_over", given[0], 0, 1, "of the cells")
    return share, checked_count("pass_over", given[1], 1)


def _renamed(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same settings, by the names that they have now."""
    if "reposition" not in given:
        return given
    left = dict(given)
    before = checked_switch("reposition", left.pop("reposition"))
    moved = "source" if before else "lend"
    if "moved" in given:
        raise ValueError(
            f"reposition: it was renamed; leave it out beside moved={given['moved']!r}"
        )
    message = f'reposition={before} is now moved="{moved}", and will be removed'
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    return {**left, "moved": moved}
