"""A model whose modules may be wrapped: by adapters, hooks, other libraries.

Letters: K patches, C channels, f frames of a patch (in 3-D), P patch side, D features.
"""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from patchgate.encoders import calls, projection
from patchgate.encoders.weights import check_weights

Method = TypeVar("Method", bound=Callable[..., Any])


def constant_when_compiled(method: Method) -> Method:
    """``torch.compiler.assume_constant_result``, which would import the compiler here and now: that
    takes as long as torch itself, and most programs compile nothing.
    """
    vars(method)["_dynamo_marked_constant"] = True
    return method


class Adapted:
    """What every family knows of the modules that it calls, and of those that it passes by."""

    model: Any
    outer: Any = None  # a model that does nothing but call this one, as ``vision_model``
    names: ClassVar[tuple[str, ...]]  # class names in transformers or timm
    # Paths of the modules that the family calls (``*``: the number of a layer). All others are
    # passed by, and must not be changed. Empty: nothing is known, and nothing checked.
    called: ClassVar[tuple[str, ...]] = ()
    # Whether the dense tower itself embeds patches one by one.
    one_by_one: ClassVar[bool] = False
    _seen: tuple[Any, ...] = ()  # the patch embedding that was looked at last
    _plain: bool | None = None  # it is a convolution and nothing else; None: nobody looked yet

    @property
    def projection(self) -> Any:
        """The convolution or linear layer that cuts patches, or what wraps it."""
        raise NotImplementedError

    @property
    def patch_embedding(self) -> Any:
        """The outermost module that makes tokens of patches, and that one patch can be given to."""
        return self.projection

    @property
    def weight(self) -> Tensor:
        """The weight that pixels meet first: its dtype and device are those of the tower."""
        weight: Tensor = projection.base(self.projection).weight
        return weight

    def embedded(self, rows: Tensor) -> Tensor:
        """The patch embedding of patches ``[K, C * f * P * P]``: ``[K, D]``."""
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
        """That nothing wraps a module that is passed by, nor adds to a patch what is beside it.

        Synchronises only after the patch embedding was wrapped or hooked otherwise.

        Returns:
            True.

        Raises:
            TypeError: a hook, an adapter or another forward that would be left out.
            ValueError: a patch embedding that looks beyond the patch; weights that are offloaded,
                sharded or on several devices.
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
            self.check_dtype()  # what shards or offloads weights leaves hooks: that is said first
            raise
        if placed or self.weight.is_meta:
            self.check_dtype()
        outer = self.patch_embedding
        if self.one_by_one or self._plain:
            return True
        seen = tuple((id(m), *m._forward_hooks, *m._forward_pre_hooks) for m in outer.modules())
        if seen != self._seen and projection.is_settled(outer):
            projection.check_alone(outer, self.weight)
            self._seen = seen
        return True

    def check_dtype(self) -> None:
        """Raises if the weights are not whole, of one dtype and on one device."""
        check_weights(self.model, self._home)

    @property
    def _home(self) -> str:
        return calls.home_of(self.model, self.names)
