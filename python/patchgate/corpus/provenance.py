"""Where the contents of a file of tokens come from, for its metadata."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from patchgate.corpus.names import shown_name
from patchgate.decode import Video

_PIECE = 1 << 20  # bytes


def about(
    path: str, video: Video, settings: Mapping[str, Any], check: Callable[[], None]
) -> dict[str, str]:
    """Describes a video and what was done to it; reads the whole file.

    Args:
        path: the video, as it was given.
        video: the same video, open.
        settings: the settings of the command, which JSON can hold.
        check: is called every megabyte; if it raises, so does this.

    Returns:
        ``video``, its name; ``video_bytes`` and ``video_sha256`` of a regular file; ``fps``, the
        frames a second that were looked at, if it is known; ``settings``, as JSON.
    """
    fps = settings.get("fps") or video.average_fps
    found = {"video": shown_name(path), "settings": json.dumps(settings, sort_keys=True)}
    if fps is not None:
        found["fps"] = f"{float(fps):.6g}"
    if os.path.isfile(path):
        size, digest = sha256_of(path, check)
        found |= {"video_bytes": str(size), "video_sha256": digest}
    return found


def sha256_of(path: str, check: Callable[[], None]) -> tuple[int, str]:
    """Reads a whole file, and returns its size in bytes and its hash.

    ``check`` is called every megabyte; if it raises, so does this.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            check()
            digest.update(piece)
        return file.tell(), digest.hexdigest()
