"""A dataset for training: spans of frames of a corpus, shuffled and shared out among ranks.

Letters: n spans of the corpus.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from patchgate._check import checked_count, checked_switch
from patchgate.corpus.opened import Corpus
from patchgate.tokens import VideoTokens

_OPEN = 16  # videos whose files stay mapped


class TokenSpans(IterableDataset[VideoTokens]):
    """Yields spans of frames of a corpus's videos, as ``VideoTokens``.

    Give it to a ``DataLoader`` with ``collate_fn=patchgate.collate``, of any number of workers.
    Every span comes once an epoch, but for the last few if their number does not divide by that of
    the ranks: all ranks get equally many. Only what a span shows is read from its file.

    Args:
        folder: a corpus whose form is safetensors, as of its index now.
        frames: of a span; the last one of a video may have fewer.
        shuffle: whether spans come in an order of their own in every epoch.
        seed: of that order; all ranks must have the same.
        rank, world_size: which of how many processes this one is; None: those of
            ``torch.distributed``, or 0 of 1.

    Raises:
        FileNotFoundError: there is no index.
        TypeError, ValueError: the corpus is saved in another form, or has no videos; a number is
            out of its range.
        ImportError: pyarrow is not installed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        frames: int = 64,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        self._frames = checked_count("frames", frames, 1)
        self._shuffle = checked_switch("shuffle", shuffle)
        self._seed, self.epoch = checked_count("seed", seed, 0), 0
        self._world = checked_count("world_size", _world(world_size), 1)
        self._rank = checked_count("rank", _rank(rank), 0, self._world - 1)
        self._files: list[str] = []
        counts = []
        for video in Corpus(folder):
            if video.file.suffix != ".safetensors":
                raise ValueError(
                    f"{video.file}: expected tokens as safetensors; those of another form are for "
                    "its own readers"
                )
            self._files.append(os.fspath(video.file))
            counts.append(-(-video.row["frames"] // self._frames))
        if not counts:
            raise ValueError(f"{folder}: none of its videos is done")
        self._ends: NDArray[np.int64] = np.cumsum(counts)  # spans up to and with each video
        if len(self) == 0:
            raise ValueError(
                f"{folder}: it has {self._ends[-1]} spans of {self._frames} frames, too few for "
                f"{self._world} ranks; take fewer frames"
            )
        self._open: OrderedDict[int, VideoTokens] = OrderedDict()

    def __len__(self) -> int:
        """The number of spans that this rank gets in an epoch."""
        return int(self._ends[-1]) // self._world

    def set_epoch(self, epoch: int) -> None:
        """Sets the number of the epoch, from which the order follows. Call it on every rank.

        A ``DataLoader`` with ``persistent_workers`` keeps the number that it began with.
        """
        self.epoch = checked_count("epoch", epoch, 0)

    def __iter__(self) -> Iterator[VideoTokens]:
        order = self._order()[self._rank :: self._world][: len(self)]  # this rank's
        worker = get_worker_info()
        if worker is not None:
            order = order[worker.id :: worker.num_workers]
        return map(self._span, order.tolist())

    def _order(self) -> NDArray[Any]:
        """Returns the numbers of all spans, ``[n]``, in the order of the epoch."""
        count = int(self._ends[-1])
        if not self._shuffle:
            return np.arange(count)
        return np.random.default_rng([self._seed, self.epoch]).permutation(count)

    def _span(self, number: int) -> VideoTokens:
        video = int(np.searchsorted(self._ends, number, side="right"))
        before = int(self._ends[video - 1]) if video else 0
        tokens = self._tokens(video)
        first = (number - before) * self._frames
        return tokens.frames(first, min(first + self._frames, tokens.shape.T))

    def _tokens(self, video: int) -> VideoTokens:
        if video not in self._open:
            self._open[video] = VideoTokens.load(self._files[video])
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)
        self._open.move_to_end(video)
        return self._open[video]

    def __getstate__(self) -> dict[str, Any]:
        """Leaves mapped files to the process that mapped them."""
        return {**self.__dict__, "_open": OrderedDict()}


def _group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _world(given: int | None) -> int:
    if given is not None:
        return given
    return torch.distributed.get_world_size() if _group() else 1


def _rank(given: int | None) -> int:
    if given is not None:
        return given
    return torch.distributed.get_rank() if _group() else 0
