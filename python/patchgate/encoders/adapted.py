"""A model whose modules may be wrapped: by adapters, hooks, other libraries.

Letters: K patches, C channels, f frames of a patch (in 3-D), P patch side, D features.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar

from torch import Tensor

from patchgate.encoders import calls, projection
from patchgate.encoders.weights import check_weights

Method = TypeVar("Method", bound=Callable[..., Any])


def constant_when_compiled(method: Method) -> Method:
    """Marks a method so that torch.compile calls it once, and takes its result as a constant.

    ``torch.compiler.assume_constant_result`` does the same, but imports the compiler. That takes as
    long as importing torch itself, and most programs compile nothing.
    """
    vars(method)["_dynamo_marked_constant"] = True
    return method


class Adapted:
    """A family's model, the modules of it that the family calls, and those that it bypasses."""

    model: Any
    outer: Any = None  # a model that only calls this one, as its ``vision_model``
    names: ClassVar[tuple[str, ...]]  # class names in transformers or timm
    # Paths of the modules that the family calls (``*``: the number of a layer). All others are
    # bypassed, and must not be changed. Empty: nothing is checked.
    called: ClassVar[tuple[str, ...]] = ()
    # Whether the dense tower itself embeds patches one by one.
    one_by_one: ClassVar[bool] = False
    _checked: tuple[Any, ...] = ()  # the patch embedding that passed ``check_alone`` last
    _plain: bool | None = None  # nothing wraps or hooks the patch embedding; None: not yet known

    @property
    def projection(self) -> Any:
        """The convolution or linear layer that cuts patches, or its wrapper."""
        raise NotImplementedError

    @property
    def patch_embedding(self) -> Any:
        """The outermost module that embeds patches and can be called with a single patch."""
        return self.projection

    @property
    def weight(self) -> Tensor:
        """The weight of the projection: its dtype and device are those of the tower."""
        weight: Tensor = projection.base(self.projection).weight
        return weight

    def embedded(self, rows: Tensor) -> Tensor:
        """Embeds patches ``[K, C * f * P * P]``, without positions: ``[K, D]``."""
        plain = (
            calls.is_plain(self.patch_embedding, self._home) if self._plain is None else self._plain
        )
        if plain or not len(rows):
            return projection.linear(self.projection, rows)
        weight = self.weight
        pictures = rows.to(weight.dtype).unflatten(1, weight.shape[1:])
        return projection.called(self.patch_embedding, pictures, len(weight))

    # This looks at modules, not at tensors: torch.compile does so once, while it traces.

    @constant_when_compiled
    def check_calls(self) -> bool:
        """Checks that calling only some of the model's modules computes what the model does.

        It synchronises only if the wrappers or hooks of the patch embedding have changed.

        Returns:
            True.

        Raises:
            TypeError: a bypassed module has a hook, an adapter or another forward, which would be
                left out.
            ValueError: the patch embedding depends on more than the patch, or weights are
                offloaded, sharded or on several devices.
        """
        self._plain = calls.is_plain(self.patch_embedding, self._home)
        if not self.called:
            return True
        try:
            if self.outer is not None:
                home = calls.home_of(self.outer, self.names)
                calls.check_passed_by(self.outer, ("vision_model",), home)
            placed = calls.check_passed_by(self.model, self.called, self._home)
        except TypeError:
            # Sharding and offloading leave hooks. The error about the weights is the better one.
            self.check_dtype()
            raise
        if placed or self.weight.is_meta:
            self.check_dtype()
        outer = self.patch_embedding
        if self.one_by_one or self._plain:
            return True
        found = tuple((id(m), *m._forward_hooks, *m._forward_pre_hooks) for m in outer.modules())
        if found != self._checked and projection.is_settled(outer):
            projection.check_alone(outer, self.weight)
            self._checked = found
        return True

    def copied(self) -> Self:
        """Does what ``copy.copy`` does; torch.compile before 2.13 cannot trace that."""
        other = object.__new__(type(self))
        for name in self._own_names():
            setattr(other, name, getattr(self, name))
        return other

    @constant_when_compiled
    def _own_names(self) -> tuple[str, ...]:
        return tuple(vars(self))

    def check_dtype(self) -> None:
        """Raises if the weights are not whole, of one dtype and on one device."""
        check_weights(self.model, self._home)

    @property
    def _home(self) -> str:
        return calls.home_of(self.model, self.names)
