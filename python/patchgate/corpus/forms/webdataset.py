"""Tokens as WebDataset: a tar for each video, a sample for each span of 64 frames.

WebDataset's loaders take the files; nothing of that library is needed to write them.
Letters: T frames of a span, K tokens of it, D features, h w cells.
"""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from patchgate.corpus.forms.form import OneFile
from patchgate.tokens import VideoTokens

SPAN = 64  # frames


class WebDataset(OneFile):
    """A tar for each video. The members of a sample are arrays of numpy, and JSON."""

    suffix, exact = ".tar", False

    def write(self, tokens: Path, video: str, whole: Path) -> None:
        """Writes the samples; see ``Form``."""
        every = VideoTokens.load(tokens)
        key = video.replace(".", "_")  # a sample's key ends at the first dot
        with tarfile.open(whole, "w") as out:
            for first in range(0, every.shape.T, SPAN):
                part = every.frames(first, min(first + SPAN, every.shape.T))
                name = f"{key}/{first:08}"
                about = {"video": video, "first_frame": first, "frames": part.shape.T}
                _add(out, f"{name}.json", json.dumps(about).encode())
                for member, values in _members(part).items():
                    _add(out, f"{name}.{member}.npy", _npy(values))


def _members(part: VideoTokens) -> dict[str, NDArray[Any]]:
    return {
        "feature": part.features.to(torch.float16).numpy(),  # [K, D]
        "frame": part.frame.numpy(),  # [K], from the span's first; < 0: earlier, still shown
        "cell": part.cell.int().numpy(),  # [K, 2]
        "span": part.span.numpy(),  # [K]
        "pts": part.pts_seconds.numpy(),  # [T]
        "source": part.source.int().numpy(),  # [T, h, w]
    }


def _npy(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _add(out: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # without a time: the same tokens make the same file
    member.size = len(data)
    out.addfile(member, io.BytesIO(data))
