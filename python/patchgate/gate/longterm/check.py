"""Checks what a loaded state of a gate remembers of earlier pictures.

Letters: S streams, h w cells, p cell side, M remembered pictures.
"""

from collections.abc import Mapping

from torch import Tensor

from patchgate.gate.settings import GateSettings


def wrong_memory(state: Mapping[str, Tensor], settings: GateSettings) -> str | None:
    """Says what is wrong in the ``MEMORY`` of a state, whose shapes and other numbers are right.

    Synchronises.
    """
    if not settings.memory:
        return None
    tokens, numbers = state["memory_tokens"], state["memory_numbers"]
    for s, ((frames, emitted), now) in enumerate(
        zip(state["clock"].tolist(), state["memory_now"].tolist(), strict=True)
    ):
        if not frames:
            continue  # what the stream remembers is not read
        turns, shot, busy = now
        if not 0 <= shot <= turns <= frames or busy not in (0, 1):
            return f"expected memory_now of a shot, turns up to {frames} and 0 or 1, got {now}"
        low, high = int(tokens[s].min()), int(tokens[s].max())
        if not -1 <= low <= high < emitted:
            return f"expected memory_tokens of -1..{emitted - 1}, got {low}..{high} in stream {s}"
        for i, (used, since) in enumerate(numbers[s].tolist()):
            if used < 0 and (used, since) == (-1, -1) and bool((tokens[s, i] < 0).all()):
                continue  # no picture
            if not 0 < used <= turns or not 0 <= since < used:
                return (
                    f"expected memory_numbers of a turn in 1..{turns} and an earlier one, or -1 "
                    f"twice and no tokens, got {used} and {since} in stream {s}"
                )
    return _wrong_whole(state, settings.cell)


def _wrong_whole(state: Mapping[str, Tensor], p: int) -> str | None:
    """Checks that all pixels of a cell that shows one token whole came from it."""
    begun = state["clock"][:, 0] > 0  # [S]
    ids, source = state["ids"][begun], state["source"][begun]
    cells = ids.unflatten(1, (-1, p)).unflatten(3, (-1, p)).transpose(2, 3)  # [S, h, w, p, p]
    mixed = (cells != source[..., None, None]).flatten(3).any(3)  # [S, h, w]
    wrong = state["memory_whole"][begun] & mixed
    if bool(wrong.any()):
        row, column = wrong.nonzero()[0].tolist()[1:]
        return (
            f"expected memory_whole of cells whose pixels came from one token, got cell "
            f"{row, column}, where ids has several"
        )
    return None
