"""A module that stands in for its tower in a larger model."""

from typing import Any, Self

from torch import nn


class StandIn(nn.Module):
    """Has the tower's parameters under the same names; what it lacks itself (``config``, ``dtype``,
    ...) is the tower's.
    """

    tower: nn.Module  # the original, untouched

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        # Not by setattr: as a submodule it would appear in the names of the parameters. With its
        # own tables shared instead, .to() and load_state_dict() here are the same as there.
        self.__dict__["tower"] = tower
        for name in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            self.__dict__[name] = tower.__dict__[name]
        self.training = tower.training

    def train(self, mode: bool = True) -> Self:
        """As ``nn.Module.train``, for the tower too."""
        super().train(mode)
        self.tower.training = mode
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            tower = self.__dict__.get("tower")
            if tower is None:  # half built, as while it is unpickled
                raise
            return self._of_tower(name)

    def _of_tower(self, name: str) -> Any:
        """An attribute that only the tower has."""
        return getattr(self.tower, name)
