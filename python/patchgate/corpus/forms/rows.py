"""A row for each token, in batches of Arrow that hold a few thousand rows at once.

Letters: T frames, K tokens, D features, n rows of a batch.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from patchgate.corpus.needs import pyarrow_for
from patchgate.tokens import VideoTokens

_NUMBERS = 1 << 22  # of features in a batch: 8 MiB
_WHAT = "tokens as rows"


def schema(width: int) -> Any:
    """Returns the schema of rows with so many features. docs/corpus.md says what a column is."""
    arrow = pyarrow_for(_WHAT)
    return arrow.schema([
        ("video", arrow.string()), ("frame", arrow.int64()), ("cell_row", arrow.int32()),
        ("cell_column", arrow.int32()), ("span", arrow.int64()), ("pts", arrow.float64()),
        ("until", arrow.float64()), ("feature", arrow.list_(arrow.float16(), width)),
    ])  # fmt: skip


def batches(path: Path, video: str) -> Iterator[Any]:
    """Yields the rows of a file of tokens as record batches, in the order of the tokens."""
    arrow = pyarrow_for(_WHAT)
    tokens = VideoTokens.load(path)
    width = tokens.features.shape[1]
    own, until = schema(width), tokens.shown_until()  # [T]
    step = max(1, _NUMBERS // max(1, width))
    for first in range(0, len(tokens), step):
        part = slice(first, first + step)
        frame, span = tokens.frame[part], tokens.span[part]  # [n] each
        flat = tokens.features[part].to(torch.float16).contiguous().flatten()  # [n * D]
        columns = [
            arrow.array([video] * len(frame), arrow.string()),
            frame.numpy(),
            tokens.cell[part, 0].int().numpy(),
            tokens.cell[part, 1].int().numpy(),
            span.numpy(),
            tokens.pts_seconds[frame].numpy(),
            until[frame + span - 1].numpy(),
            arrow.FixedSizeListArray.from_arrays(arrow.array(flat.numpy()), width),
        ]
        arrays = [each if isinstance(each, arrow.Array) else arrow.array(each, kind.type)
                  for each, kind in zip(columns, own, strict=True)]  # fmt: skip
        yield arrow.RecordBatch.from_arrays(arrays, schema=own)


def width_of(path: Path) -> int:
    """Returns the number of features of a file's tokens."""
    return int(VideoTokens.load(path).features.shape[1])
