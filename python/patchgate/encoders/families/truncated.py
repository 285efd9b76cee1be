"""A tower as far as one of its hidden states: what most vision-language models take of it.

Letters: T frames, N cells, F frames that computed anything, R packed rows, D features, E numbers
of a token.
"""

from typing import Any

from torch import Tensor

from patchgate.encoders.tower import Tower


def truncated(tower: Tower, layer: int) -> Tower:
    """The tower whose features are ``hidden_states[layer]``. Layers after it are not computed, nor
    the last norm and the pooling.

    Args:
        layer: as in transformers: 0 is what enters the first layer, -1 what leaves the last.

    Raises:
        ValueError: no such hidden state; nothing to compute; a tower with features of other layers.
    """
    if not -tower.depth <= layer <= tower.depth or layer == 0:
        raise ValueError(
            f"feature_layer: expected a hidden state after one of {tower.depth} layers, got {layer}"
        )
    if tower.tapped or tower.tokens_per_cell > 1:
        raise ValueError("feature_layer: this tower merges what leaves its layers")
    return _cut(type(tower), {**vars(tower), "_ends_after": layer % (tower.depth + 1)})


def _cut(kind: type[Tower], state: dict[str, Any]) -> Tower:
    ended: Any = type(kind.__name__, (_Truncated, kind), {})
    cut: Tower = ended.__new__(ended)
    vars(cut).update(state)
    return cut


class _Truncated:
    """Goes before a family, and ends it after some layers."""

    _ends_after: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _cut, (type(self).__bases__[1], vars(self))  # pickle cannot find a class made here

    @property
    def depth(self) -> int:
        return self._ends_after

    def leave(self, rows: Tensor) -> Tensor:
        return rows

    def pool_entry(self, features: Tensor) -> Tensor | None:
        return None

    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Any:
        return None

    def output(
        self, features: Tensor, pooled: Tensor | None, states: Any, last: Tensor | None = None
    ) -> Any:
        if states is not None:
            raise ValueError(
                "output_hidden_states: a tower that ends at feature_layer has fewer of them, and "
                "would number them otherwise than the whole tower; gate it without feature_layer"
            )
        parent: Any = super()
        return parent.output(features, pooled, None, last)

    def pool_flops(self, frames: int, tokens: int, dense: bool) -> float:
        return 0.0
