"""How close a gated tower stays to the dense one."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict, get_args

from patchgate._check import checked_choice, checked_count, checked_number, checked_switch, settle

Context = Literal["full", "kept"]

UNCALIBRATED = 0.05  # with it, a model with real weights still read all of eight formulas


class FidelityKwargs(TypedDict, total=False):
    """The keywords of ``gated`` that make a ``Fidelity``. ``gated`` documents them."""

    context: Context
    tolerance: float
    tolerance_layers: int | None
    refresh: int | None
    reposition: bool


@dataclass(frozen=True)
class Fidelity:
    """The arguments of ``gated`` that decide how cells that were not kept take part.

    ``gated`` documents them.
    """

    context: Context = "full"
    tolerance: float = UNCALIBRATED
    tolerance_layers: int | None = None
    refresh: int | None = None
    reposition: bool = True

    def __post_init__(self) -> None:
        settle(
            self,
            context=checked_choice("context", self.context, get_args(Context)),
            tolerance=checked_number(
                "tolerance", self.tolerance, 0, math.inf, "of the attention output"
            ),
            reposition=checked_switch("reposition", self.reposition),
        )
        for name, low in (("tolerance_layers", 0), ("refresh", 1)):
            if (count := getattr(self, name)) is not None:
                settle(self, **{name: checked_count(name, count, low)})
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
        return self.context == "full" and (self.reposition or self.tolerance == 0)

    @property
    def embeds_again(self) -> bool:
        """Whether the pixels of earlier tokens can be needed."""
        return self.repositions or self.refresh is not None

    @classmethod
    def split(cls, given: Mapping[str, Any]) -> tuple["Fidelity", dict[str, Any]]:
        """Splits settings into a ``Fidelity`` and the settings that it does not have."""
        names = {each.name for each in fields(cls)}
        own = {name: value for name, value in given.items() if name in names}
        return cls(**own), {name: v for name, v in given.items() if name not in names}
