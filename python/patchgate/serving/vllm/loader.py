"""The video loader "patchgate" of vLLM: every frame, or any rate, with true times.

``--media-io-kwargs '{"video": {"video_backend": "patchgate", "fps": 4}}'`` chooses it. vLLM has
read the file by then, by its own rules for ``data:``, ``file:`` and other addresses.
"""

from typing import Any

import numpy as np
from vllm.multimodal.video import VIDEO_LOADER_REGISTRY, VideoLoader

from patchgate.serving.frames import metadata, read_frames

_OPTIONS = ("fps", "num_frames", "start", "end")


@VIDEO_LOADER_REGISTRY.register("patchgate", requires_gpu=False)
class PatchgateLoader(VideoLoader):
    """Decodes with ``patchgate.open_video``."""

    @classmethod
    def load_bytes(cls, data: bytes, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Decodes a file.

        Args:
            data: the file.
            options: ``fps``, ``num_frames``, ``start`` and ``end``: see ``read_frames``. vLLM hands
                on ``num_frames=32`` where nobody has given another; it counts only without ``fps``.

        Returns:
            ``[T, H, W, 3]`` uint8, and the metadata.

        Raises:
            TypeError, ValueError: there is no such option, or see ``read_frames``.
        """
        unknown = sorted(set(options) - set(_OPTIONS))
        if unknown:
            raise ValueError(
                f"video: the loader patchgate takes {', '.join(_OPTIONS)}, got {', '.join(unknown)}"
            )
        frames = read_frames(data, **options)
        return frames.rgb, metadata(frames, "patchgate")
