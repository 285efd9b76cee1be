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
    """Fewer tokens that say almost the same: those that are alike become one, their mean.

    Every token is linked to the most similar of the earlier tokens that it may join. Links are
    joined in the order of their price, the squared distance times the root of the sizes at stake
    (``reference.contract`` has the rule), until the budget is met: exactly.

    Args:
        tokens: of a tower or of pixels, merged before or not.
        budget: how many tokens stay, of the whole video, or ``per="frame"`` or ``per="second"``
            (counted from the first frame's time; frames and seconds that have fewer keep theirs).
        ratio: the share of the tokens that stays, rounded up; with ``window``, of each window.
        threshold: tokens join while the distance to what they join is at most this share of its
            length. One of budget, ratio and threshold is needed.
        spatial: cells beside each other may join, too.
        similar: and any two cells of a frame: bipartite soft matching (Token Merging, arXiv
            2210.09461), every second token with the best of the others, in as many rounds as the
            budget needs.
        keep_grid: no token stands for cells of two blocks of 2 x 2; with ``spatial=False``, for no
            two cells: what is merged is still a grid. (Cells that the gate found to have moved
            stay with the token that moved there.)
        delta, head, memory: tokens join only within a semantic scene: see ``scenes``. None: across
            cuts as well. ``memory`` is also how many earlier tokens of its cell a token may join.
        reach: cells. A token may join one that the frame before showed so far down and across.
        agreement: a share of a token's length. If a token that becomes one with others is further
            than this from their mean, only those count that are no further from the one nearest to
            it: where a budget joins a 3 and an 8, one of them stays legible. None: all count.
        every_frame: of every frame that has tokens, one stays, for models that take no empty one.
        window: frames. None: all are seen at once. A number: causal, what comes out of each window
            depends on it and on what was handed out before (``MergeStream`` does the same live,
            from a video's start).
            With ``per="second"`` it holds whole seconds, as many as there is room for.

    Returns:
        Tokens whose ``source`` names for every cell the token that now stands for it: ``dense()``
        gives every cell back. A merged token has the place and the time of its first member;
        ``size`` says for how many cells of frames it stands. Of kinds, ``MERGED`` (3) is new.
        A budget that is no less than there are tokens changes nothing. Earlier tokens that a slice
        refers to stay as they are, and count for no budget.

    Raises:
        TypeError, ValueError: settings that are out of range or exclude each other; fields of
            tokens that do not go together; features of a dtype that has no means, not finite, or
            64-bit integers beyond 2 ** 53, by name; a budget below what the links allow, with what
            would allow it; times that fall, where seconds are counted; ``keep_grid`` of tokens that
            were merged across blocks before.

    Decides in float32. A token that joins no other, and that none joins, has the very features that
    it came with; means of integers are taken in float64 and rounded. Features on a GPU are compared
    and averaged there, and copied to the CPU once, where links are joined. Deterministic.
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
    """The tokens that its frames emitted."""
    return TokenChunk(
        tokens.features[earlier:],
        tokens.frame[earlier:],
        tokens.cell[earlier:],
        tokens.pts_seconds,
        tokens.duration_seconds,
        tokens.source,
        tokens.kind,
        tokens.motion,
    )
