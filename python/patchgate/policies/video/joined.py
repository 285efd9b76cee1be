"""Joins frames of several ``VideoTokens`` in one.

Letters: T frames (or tubelets), h w cells, K tokens of all of them, n tokens of the joined one.
"""

from typing import NamedTuple

import torch
from torch.nn.functional import pad

from patchgate._tensors import arange, whole
from patchgate.tokens import VideoTokens, spans


class Row(NamedTuple):
    """A frame of a container of tokens."""

    tokens: VideoTokens
    number: int


def joined(rows: list[Row]) -> VideoTokens:
    """Joins frames, and the tokens to which they refer, in one container.

    Args:
        rows: the frames. Frames of one container must stand in its order.

    Returns:
        The frames in the given order. Tokens of other frames, to which these refer, come first,
        with a negative ``frame``. There is no ``layout``, unless the frames are all those of one
        container: frames of several passes through a gate still have a source for each cell, but
        applying one after the other does not rebuild the video. For the same reason every cell
        shows its source whole: their ``grid`` says so, and is that of all containers.
    """
    containers = list({id(row.tokens): row.tokens for row in rows}.values())
    first = containers[0]
    if len(containers) == 1 and [row.number for row in rows] == list(range(first.shape.T)):
        return first
    place = {id(tokens): i for i, tokens in enumerate(containers)}
    offset = [0]  # where each container's tokens begin among all tokens
    for tokens in containers:
        offset.append(offset[-1] + len(tokens))
    source = torch.stack(
        [row.tokens.source[row.number] + offset[place[id(row.tokens)]] for row in rows]
    )  # [T, h, w]
    emitted = []
    for tokens, t in rows:
        begin, end = tokens.cu_seqlens[t : t + 2].tolist()
        emitted.append(arange(begin, end) + offset[place[id(tokens)]])
    own = torch.cat(emitted)
    used = source.unique()
    others = used[~torch.isin(used, own)]
    take = torch.cat([others, own])  # [n], positions in K
    new = torch.full((offset[-1],), -1, dtype=torch.int64, device="cpu")
    new[take] = arange(len(take))
    counts = whole([len(ids) for ids in emitted])
    frame = torch.full_like(take, -1)
    frame[len(others) :] = arange(len(rows)).repeat_interleave(counts)
    ends = pad(counts.cumsum(0), (1, 0)) + len(others)
    source = new[source]
    return VideoTokens(
        features=torch.cat([tokens.features for tokens in containers])[take],
        frame=frame,
        cell=torch.cat([tokens.cell for tokens in containers])[take],
        span=spans(frame, source),
        pts_seconds=torch.stack([row.tokens.pts_seconds[row.number] for row in rows]),
        duration_seconds=torch.stack([row.tokens.duration_seconds[row.number] for row in rows]),
        cu_seqlens=ends.int(),
        source=source,
        kind=torch.stack([row.tokens.kind[row.number] for row in rows]),
        motion=torch.stack([row.tokens.motion[row.number] for row in rows]),
        layout=None,
        grid=first.grid,
    )
