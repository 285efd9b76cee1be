"""Merges one window of frames after the other, and remembers what later ones may refer to.

A token has three numbers: the *name* with which it came in; the *title* with which it was handed
out, which it may share with those that it joined; and its *row* in the current window, where the
tokens carried over from before come first.

Letters: T frames, h w cells, K rows, C of them carried over, Q = K - C, D features, R pictures.
"""

import copy
from typing import NamedTuple, Self

import torch
from torch import Tensor

from patchgate._tensors import arange, truths, whole
from patchgate.gate import MERGED
from patchgate.merging.agreement import agreeing
from patchgate.merging.budget import TokenBudget
from patchgate.merging.contraction import plan
from patchgate.merging.ledger import Ledger
from patchgate.merging.scenes import Head, SceneTracker, Step
from patchgate.merging.settings import MergeSettings
from patchgate.merging.window import Window, means, numbering
from patchgate.tokens import TokenChunk
from patchgate.tokens.chunk import concatenated


class Carried(NamedTuple):
    """Tokens that were handed out and may still be joined."""

    features: Tensor  # [C, D] float32
    frame: Tensor  # [C] int64, negative
    cell: Tensor  # [C, 2] int64
    label: Tensor  # [C] int64
    title: Tensor  # [C] int64, ascending


class Merger:
    """Merges windows in their order."""

    frames: int  # the number of frames so far

    def __init__(self, settings: MergeSettings, head: Head | None = None) -> None:
        self._settings = settings
        self.scenes = SceneTracker(settings.delta, settings.memory, head)
        self.carried: Carried | None = None
        self.titles = Ledger(1)  # the title of every name so far
        self.handed_out = 0  # the number of titles
        self.frames = 0
        self.shown: Tensor | None = None  # [h, w]: names in the last frame
        self.budget = TokenBudget(settings)

    def begin_with(self, features: Tensor, frame: Tensor, cell: Tensor) -> None:
        """Adds tokens ``[C]`` from before the first window, which later ones may name and join."""
        rows = features.float().contiguous()
        names = arange(len(rows))
        self.carried = Carried(rows, frame, cell, torch.zeros_like(frame), names)
        self.titles.append(names[:, None])
        self.handed_out = len(rows)

    def relax(self, settings: MergeSettings) -> None:
        """Changes those settings that ``MergeSettings.relaxed`` may change."""
        self._settings = self.budget.settings = settings
        self.scenes.delta = settings.delta

    def copy(self) -> Self:
        """Returns a copy; what happens to it does not change this one."""
        other = copy.copy(self)  # tensors are replaced, not written to
        other.scenes, other.budget = self.scenes.copy(), copy.copy(self.budget)
        other.titles = self.titles.copy()
        return other

    def forget_but(self, names: Tensor) -> None:
        """Forgets all tokens but ``names`` ``[n]`` and those that are carried over."""
        known = names[names < len(self.titles)]
        self.titles.keep_near(torch.cat([known, self.pictures().flatten()]), only=True)

    def merge(self, chunk: TokenChunk) -> TokenChunk:
        """Merges the next frames.

        Args:
            chunk: was checked; its tokens' names follow those of the chunk before.
        """
        window = self._window(chunk)
        root = plan(window, self.budget.need(window, chunk.pts_seconds), self._settings)
        return self._finish(chunk, window, root)

    # ---- before the plan

    def _window(self, chunk: TokenChunk) -> Window:
        old = self.carried or _nothing(chunk)
        frame = chunk.frame - self.frames  # [Q]
        own = chunk.features.float().contiguous()
        features = concatenated([old.features, own])
        source = self._rows(chunk.source, old)
        steps = self.scenes.follow(features, chunk.kind, source, chunk.source, chunk.features.dtype)
        label = whole([step.label for step in steps])  # [T]
        size = source[source >= len(old.title)].bincount(minlength=len(old.title) + len(own))
        weight = size.double().clamp(min=1)
        weight[: len(old.title)] = torch.inf
        pictures, returned = self._returned(steps, old)
        return Window(
            features=features,
            weight=weight,
            frame=torch.cat([old.frame, frame]),
            cell=torch.cat([old.cell, chunk.cell]),
            label=torch.cat([old.label, label[frame]]),
            source=source,
            before=self._before(source, steps, old),
            pictures=pictures.reshape(-1, *source.shape[1:]),
            returned=returned,
        )

    def _rows(self, names: Tensor, old: Carried) -> Tensor:
        """Returns the rows of tokens in the window; -1: it is not in the window."""
        rows, earlier = names - len(self.titles) + len(old.title), names < len(self.titles)
        title = self._title_of(names[earlier])  # [n]
        at = torch.searchsorted(old.title, title).clamp(max=max(0, len(old.title) - 1))
        known = old.title[at] == title if len(old.title) else torch.zeros_like(at, dtype=torch.bool)
        rows[earlier] = torch.where(known, at, -1)
        return rows

    def _before(self, source: Tensor, steps: list[Step], old: Carried) -> Tensor:
        first = torch.full_like(source[:1], -1)
        if self.shown is not None:
            first = self._rows(self.shown, old)[None]
        before = torch.cat([first, source[:-1]])  # [T, h, w]
        begins = truths([step.begins for step in steps])
        return before.masked_fill(begins[:, None, None], -1)

    def _returned(self, steps: list[Step], old: Carried) -> tuple[Tensor, Tensor]:
        """Returns pictures of returning scenes ``[R, h, w]``, and that of each frame ``[T]``."""
        pictures: list[Tensor] = []
        number: dict[int, int] = {}
        found = []
        for step in steps:
            if step.returned is not None and step.scene not in number:
                number[step.scene] = len(pictures)
                pictures.append(self._rows(step.returned, old))
            found.append(number.get(step.scene, -1))
        stacked = (
            torch.stack(pictures) if pictures else torch.zeros(0, dtype=torch.int64, device="cpu")
        )
        return stacked, whole(found)

    # ---- after it

    def _finish(self, chunk: TokenChunk, window: Window, root: Tensor) -> TokenChunk:
        c, frames = window.carried, len(chunk.kind)
        every = arange(len(root))
        stays = (root == every)[c:]  # [Q]
        titles = self.handed_out + stays.cumsum(0) - 1
        old = self.carried or _nothing(chunk)
        title = torch.cat([old.title, titles])[root]  # [K]
        self.titles.append(title[c:, None])
        # Tokens that joined a token from before represent themselves here, and are left out.
        own = torch.where(root < c, every, root)[c:] - c
        represents, _ = numbering(own)
        weight = window.weight[c:]
        if self._settings.agreement is not None:
            weight = agreeing(window.features[c:], weight, own, self._settings.agreement)
        features = _rows_of(means(chunk.features, weight, own), stays[represents])
        kept = stays.nonzero().flatten()
        kind = chunk.kind.clone()
        kind[window.frame[c:][~stays], chunk.cell[~stays, 0], chunk.cell[~stays, 1]] = MERGED
        new = Carried(
            features.float(),
            window.frame[c:][kept],
            chunk.cell[kept],
            window.label[c:][kept],
            titles[kept],
        )
        self.handed_out += len(kept)
        self.frames += frames
        self.shown = chunk.source[-1]
        source = self._source(chunk.source, window, title)
        self._carry(new, old, frames)
        return chunk._replace(
            features=features,
            frame=chunk.frame[kept],
            cell=chunk.cell[kept],
            source=source,
            kind=kind,
        )

    def _source(self, names: Tensor, window: Window, title: Tensor) -> Tensor:
        """Returns the title of each cell's token ``[T, h, w]``, from those of the rows ``[K]``."""
        source = title[window.source.clamp(min=0)]
        absent = window.source < 0
        source[absent] = self._title_of(names[absent])
        return source

    def _carry(self, new: Carried, old: Carried, frames: int) -> None:
        """Keeps what later windows may refer to: the last frame, and the remembered scenes."""
        wanted = self.titles.keep_near(self.pictures())[:, 0].unique()
        parts = []
        for tokens in (old, new):
            keep = torch.isin(tokens.title, wanted)
            rows = keep.nonzero().flatten()
            features = tokens.features[rows.to(tokens.features.device)]
            parts.append(Carried(features, *(part[rows] for part in tokens[1:])))
        kept = Carried(*map(torch.cat, zip(*parts, strict=True)))
        self.carried = kept._replace(frame=kept.frame - frames)

    def pictures(self) -> Tensor:
        """Returns the names that later windows will probably refer to, ``[n, h, w]``."""
        shown = [] if self.shown is None else [self.shown]
        pictures = [*shown, *self.scenes.pictures()]
        none = torch.zeros(0, dtype=torch.int64, device="cpu")
        return torch.stack(pictures) if pictures else none

    def _title_of(self, names: Tensor) -> Tensor:
        return self.titles.rows(names)[..., 0]


def _rows_of(features: Tensor, mask: Tensor) -> Tensor:
    """Returns ``features[mask]``, without a copy if that is all of them."""
    return features if bool(mask.all()) else features[mask.to(features.device)]


def _nothing(chunk: TokenChunk) -> Carried:
    none = torch.zeros(0, dtype=torch.int64, device="cpu")
    return Carried(chunk.features[:0].float(), none, chunk.cell[:0], none, none)
