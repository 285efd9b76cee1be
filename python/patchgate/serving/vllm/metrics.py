"""What was kept, as Prometheus counters beside vLLM's own, at the server's ``/metrics``.

vLLM's stat loggers see what its scheduler does, not its processor; so these are counters of their
own. A video that vLLM finds in its processor's cache is not counted again.
"""

from prometheus_client import Counter

_VIDEOS = Counter("patchgate:videos", "Videos that were gated.")
_TOKENS = Counter("patchgate:video_tokens", "Tokens of videos in prompts.")
_CELLS = Counter("patchgate:video_cells", "Tokens that the same videos have without a gate.")
_ROWS = Counter("patchgate:tower_rows", "Patches that enter the tower.")
_PATCHES = Counter("patchgate:video_patches", "Patches of the same videos.")


def count(tokens: int, cells: int, rows: int, patches: int) -> None:
    """Counts one video.

    Args:
        tokens: those that the prompt has.
        cells: those that it has without a gate.
        rows: patches for the tower.
        patches: all patches.
    """
    _VIDEOS.inc()
    for counter, amount in ((_TOKENS, tokens), (_CELLS, cells), (_ROWS, rows), (_PATCHES, patches)):
        counter.inc(amount)
