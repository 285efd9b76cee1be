"""What was kept, in the log and as Prometheus counters beside vLLM's own, at ``/metrics``.

vLLM's stat loggers see what its scheduler does, not its processor; so these are counters of their
own. A video that vLLM finds in its processor's cache is not counted again.
"""

import logging

from prometheus_client import Counter

from patchgate.serving.gating import GatedVideo

LOG = logging.getLogger("vllm.plugins.patchgate")

_VIDEOS = Counter("patchgate:videos", "Videos that were gated.")
_TOKENS = Counter("patchgate:video_tokens", "Tokens of videos in prompts.")
_CELLS = Counter("patchgate:video_cells", "Tokens that the same videos have without a gate.")
_ROWS = Counter("patchgate:tower_rows", "Patches that enter the tower.")
_PATCHES = Counter("patchgate:video_patches", "Patches of the same videos.")


def report(video: GatedVideo, tubelets: int, patches: int) -> None:
    """Logs and counts what was kept of one video.

    Args:
        video: the video.
        tubelets: their number.
        patches: all patches that it had.
    """
    tokens, cells, rows = video.tokens, len(video.cells), len(video.rows)
    _VIDEOS.inc()
    for counter, amount in ((_TOKENS, tokens), (_CELLS, cells), (_ROWS, rows), (_PATCHES, patches)):
        counter.inc(amount)
    LOG.info(video.said(tubelets, patches))
