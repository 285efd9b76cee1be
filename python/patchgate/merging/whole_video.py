"""Merging the tokens of a whole video."""

from dataclasses import replace
from typing import Unpack

import torch

from patchgate._signature import spelled
from patchgate._tensors import arange
from patchgate.merging.checks import Before, check_features
from patchgate.merging.cutting import windows
from patchgate.merging.ledger import Ledger
from patchgate.merging.merger import Merger
from patchgate.merging.scenes import Head
from patchgate.merging.settings import MergeKwargs, MergeSettings
from patchgate.tokens import TokenChunk, VideoTokens, spans
from patchgate.tokens.chunk import concatenated, joined


@spelled(MergeSettings)
def merge(
    tokens: VideoTokens, *, head: Head | None = None, **settings: Unpack[MergeKwargs]
) -> VideoTokens:
    """Merges similar tokens of a video: each group of them becomes one token, its mean.

    Every token is linked to the most similar of the earlier tokens that it may join. Links are
    joined in the order of their price: the squared distance times the root of the sizes
    (``reference.contract`` has the rule). This goes on until the budget is met exactly.

    Args:
        tokens: those of a tower or of pixels, merged before or not.
        budget: the number of tokens that stay: of the whole video, or with ``per="frame"`` or
            ``per="second"`` of each (seconds are counted from the first frame's time; frames and
            seconds that have fewer keep theirs).
        ratio: the share of tokens that stays, rounded up; with ``window``, that of each window.
        threshold: tokens join while the distance to the token that they join is at most this share
            of its length. One of budget, ratio and threshold is needed.
        spatial: adjacent cells may join, too.
        similar: any two cells of a frame may join, too, by bipartite soft matching (Token Merging,
            arXiv 2210.09461): every second token with the best of the others, in as many rounds as
            the budget needs.
        keep_grid: no token represents cells of two blocks of 2 x 2 or, with ``spatial=False``, two
            cells, so that the result is still a grid. (Cells that the gate found to have moved keep
            the token that moved there.)
        delta, head, memory: tokens join only within a semantic scene: see ``scenes``. ``delta``
            None: they join across cuts, too. ``memory`` is also the number of earlier tokens of its
            cell that a token may join.
        reach: in cells. A token may join one that the frame before showed so far down and across.
        agreement: a share of a token's length. If a member of a group is further than this from the
            group's mean, only those count that are no further than this from the one nearest to the
            mean: if a budget joins a 3 and an 8, one of them stays legible. None: all count.
        every_frame: one token stays of every frame that has tokens, for models that need this.
        window: a number of frames. None: all frames are merged together. With a window, merging is
            causal: the result of each window depends on it and on earlier results (``MergeStream``
            does the same live, from a video's start). With ``per="second"`` a window has as many
            whole seconds as it has room for.

    Returns:
        Tokens whose ``source`` is, for every cell, the token that represents it now: ``dense()``
        returns every cell. A merged token has the place and the time of its first member, and
        ``size`` is the number of cells of frames that it represents. The kind ``MERGED`` (3) is
        new. A budget of at least the number of tokens changes nothing. Earlier tokens that a slice
        refers to do not change, and do not count for a budget.

    Raises:
        TypeError, ValueError: settings are out of range or exclude each other; fields of tokens do
            not fit together; features are not finite, or 64-bit integers beyond 2 ** 53, or their
            dtype has no means; the links do not allow to meet the budget (the message says what
            would); times fall and seconds are counted; with ``keep_grid``, tokens were merged
            across blocks before.

    Decisions are made in float32, and are deterministic. A token that joins no other, and that none
    joins, keeps exactly its features. Means of integers are computed in float64 and rounded.
    Features on a GPU are compared and averaged there, and copied once to the CPU, where links are
    joined. The call synchronises.
    """
    wanted = MergeSettings.of(settings)
    if not isinstance(tokens, VideoTokens):
        raise TypeError(f"tokens: expected VideoTokens, got {type(tokens).__name__}")
    if not tokens.shape.T:
        return tokens
    earlier = int(tokens.cu_seqlens[0])
    own = _own(tokens, earlier)
    known = tokens.features[:earlier], tokens.frame[:earlier], tokens.cell[:earlier]
    check_features("tokens", *known, 0)
    cells = Ledger(2 if wanted.keep_grid else 0)
    cells.append(known[2][:, : cells.width])
    Before(wanted, "tokens", tokens=earlier, cells=cells).then(own)
    merger = Merger(wanted, head)
    merger.begin_with(*known)
    chunks = [merger.merge(part) for part in windows(own, wanted)]
    done = joined(chunks)
    frame = torch.cat([tokens.frame[:earlier], done.frame])
    return replace(
        tokens,
        features=concatenated([tokens.features[:earlier], done.features]),
        frame=frame,
        cell=torch.cat([tokens.cell[:earlier], done.cell]),
        span=spans(frame, done.source),
        cu_seqlens=torch.searchsorted(frame, arange(len(done.kind) + 1)).int(),
        source=done.source,
        kind=done.kind,
    )


def _own(tokens: VideoTokens, earlier: int) -> TokenChunk:
    """Returns the tokens that the frames emitted."""
    return TokenChunk(
        tokens.features[earlier:],
        tokens.frame[earlier:],
        tokens.cell[earlier:],
        tokens.pts_seconds,
        tokens.duration_seconds,
        tokens.source,
        tokens.kind,
        tokens.motion,
        tokens.weights,
        tokens.lit,
    )
