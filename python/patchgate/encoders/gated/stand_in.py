"""A module that takes the place of a model inside a larger one."""

from typing import Any, Self

from torch import nn


class StandIn(nn.Module):
    """Has a model's parameters under the same names.

    Attributes that it does not have itself (``config``, ``dtype``, ...) are read from the model.
    """

    tower: nn.Module  # the original model, unchanged; a public name

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        # Not by setattr: as a submodule, the model would appear in the names of the parameters.
        # The model's tables are shared instead, so that .to() and load_state_dict() act on both.
        self.__dict__["tower"] = model
        for name in ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"):
            self.__dict__[name] = model.__dict__[name]
        self.training = model.training

    def train(self, mode: bool = True) -> Self:
        """Does what ``nn.Module.train`` does, for the model, too."""
        super().train(mode)
        self.tower.training = mode
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if "tower" not in self.__dict__:  # not complete yet, for instance during unpickling
                raise
            return self._of_model(name)

    def _of_model(self, name: str) -> Any:
        """Returns an attribute that only the model has."""
        return getattr(self.tower, name)
