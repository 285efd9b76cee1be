"""The tensors of a merge stream's state: their names, dtypes and shapes, and the counts.

Letters: h w cells, D features, n the last names, c numbers of a name, C tokens carried over,
S scenes, V outcomes of their distributions.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

import torch
from torch import Tensor

from patchgate.gate.saved import DIGEST
from patchgate.merging.settings import MergeSettings
from patchgate.tokens import TokenChunk

_MOST = 1 << 53  # frames and tokens

_WHOLE, _REAL = torch.int64, torch.float64
_LEDGER = {"names": ("near",), "near": ("near", "c"), "rows": ("n", "c")}
_CARRIED = {"features": ("C", "D"), "frame": ("C",), "cell": ("C", 2), "label": ("C",),
            "title": ("C",)}  # fmt: skip
_SCENES = {"label": ("S",), "length": ("S",), "distribution": ("V",), "picture": ("S", "h", "w")}
_RETURNED = "scenes.returned"


class Counts(NamedTuple):
    """The numbers of a state, ``counts``."""

    frames: int  # merged frames
    tokens: int  # tokens of these frames
    titles: int  # tokens that were handed out
    scenes: int  # scenes so far
    labels: int  # semantic scenes so far
    second: int  # the last second with a budget; -1: none
    spent: int  # the number of tokens of that second
    ended: int  # 1: flush() has ended the video

    @classmethod
    def of(cls, numbers: Tensor, settings: MergeSettings) -> Self:
        """Makes counts of a tensor ``[8]`` int64, in this order.

        Raises:
            ValueError: it is another tensor, or its numbers contradict each other.
        """
        if numbers.dtype != _WHOLE or list(numbers.shape) != [len(cls._fields)]:
            raise ValueError(
                f"expected counts [{len(cls._fields)}] of int64 ({', '.join(cls._fields)}), got "
                f"{list(numbers.shape)} {numbers.dtype}"
            )
        counts = cls(*numbers.tolist())
        frames, tokens, titles, scenes, labels, second, spent, ended = counts
        some, by_second = int(frames > 0), settings.per == "second"
        most = min(titles, settings.budget or 0) if by_second and some else 0
        wrong = (
            not 0 <= frames <= _MOST
            or not 0 <= tokens <= _MOST * some
            or not min(1, tokens) <= titles <= tokens
            or not some <= scenes <= frames
            or not some <= labels <= scenes
            or not (second >= 0 if by_second and some else second == -1)
            or not 0 <= spent <= most
            or ended not in (0, 1)
        )
        if wrong:
            raise ValueError(f"counts: expected numbers that fit together, got {counts._asdict()}")
        return counts


def wrong_names(state: Mapping[str, Tensor], settings: MergeSettings) -> str | None:
    """Says which tensors are missing or unknown; None if none are."""
    needed, optional = {"settings", "counts", DIGEST}, set[str]()
    counts = Counts.of(state["counts"], settings) if "counts" in state else None
    if counts is not None and (counts.frames or "waiting.features" in state):
        waiting = {f"waiting.{name}" for name in TokenChunk._fields}
        optional = {"waiting.weights", "waiting.lit"}
        needed |= waiting - optional
        needed |= {"clock", *(f"cells.{name}" for name in _LEDGER)}
    if counts is not None and counts.frames:
        needed |= {f"titles.{name}" for name in _LEDGER}
        needed |= {f"carried.{name}" for name in _CARRIED} | {f"scenes.{n}" for n in _SCENES}
        optional.add(_RETURNED)
    missing, unknown = needed - state.keys(), state.keys() - needed - optional
    if missing:
        return f"{', '.join(sorted(missing))} missing"
    return f"it has unknown tensors: {', '.join(sorted(unknown))}" if unknown else None


def wrong_shapes(state: Mapping[str, Tensor], chunk: TokenChunk) -> str | None:
    """Checks dtypes and shapes; those of the waiting chunk were checked already."""
    (_, h, w), d = chunk.source.shape, chunk.features.shape[1]
    fields: list[tuple[str, tuple[str | int, ...], torch.dtype]] = [("clock", (2,), _REAL)]
    for book in ("cells", "titles"):
        fields += [(f"{book}.{name}", shape, _WHOLE) for name, shape in _LEDGER.items()]
    fields += [(f"carried.{name}", shape, _WHOLE) for name, shape in _CARRIED.items()]
    fields += [(f"scenes.{name}", shape, _WHOLE) for name, shape in _SCENES.items()]
    fields.append((_RETURNED, ("h", "w"), _WHOLE))
    dtypes = {"carried.features": torch.float32, "scenes.distribution": _REAL}
    size: dict[tuple[str, str | int], int] = {}
    for name, letters, usual in fields:
        if name not in state:
            continue
        tensor, dtype, group = state[name], dtypes.get(name, usual), name.split(".")[0]
        if tensor.dtype != dtype or tensor.dim() != len(letters):
            shown = ", ".join(map(str, letters))
            return f"expected {name} [{shown}] of {dtype}, got {list(tensor.shape)} {tensor.dtype}"
        known: dict[str | int, int] = {"h": h, "w": w, "D": d, 2: 2}
        for letter, length in zip(letters, tensor.shape, strict=True):
            wanted = known.get(letter, size.setdefault((group, letter), length))
            if length != wanted:
                return f"expected {name} with {wanted} for {letter}, got {list(tensor.shape)}"
    on, came = chunk.features.device, state.get("carried.features", chunk.features).device
    if on != came:
        return f"expected carried.features on {on} like waiting.features, got {came}"
    lengths = state.get("scenes.length")
    if lengths is not None and (not len(lengths) or int(lengths.min()) < 0):
        return f"expected scenes.length of 0 or more, of some scenes, got {lengths.tolist()}"
    if lengths is not None and int(lengths.sum()) != len(state["scenes.distribution"]):
        return (
            f"expected scenes.distribution of {int(lengths.sum())} numbers, as scenes.length says"
        )
    return None
