"""Where the contents of a written file come from, for its metadata."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from patchgate.cli.outputs import shown_name
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
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while piece := file.read(_PIECE):
                check()
                digest.update(piece)
            found |= {"video_bytes": str(file.tell()), "video_sha256": digest.hexdigest()}
    return found
